"""Where runs are recorded."""

from __future__ import annotations

from pydantic import Field

from rlexp.spec.part import Part


class TrackingSpec(Part):
    """Where metrics, samples and checkpoints go. The run's own folder always has them."""

    name: str
    """What cards and tables call it."""
    uri: str | None
    """MLflow tracking store: a `sqlite:///` file or a server; null tracks in the run's folder
    only."""
    registry: str | None
    """MLflow's model registry that `registry:NAME` paths mean, in the form of `uri`."""
    experiment: str = Field(min_length=1)
    """MLflow experiment."""
    tags: dict[str, str]
    """Further tags of the MLflow run."""
    log_model: bool
    """Upload the final weights as an artifact too (they are in the run's folder anyway)."""
