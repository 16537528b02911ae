BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'dpo_basics');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'study:metric_names','["eval/reward"]');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'space','{"algo.learning_rate": "tag(log,interval(3e-4,6e-3))", "algo.beta": "tag(log,interval(0.1,2.0))", "algo.loss_type": "choice([sigmoid],[ipo],[hinge])"}');
INSERT INTO "study_user_attributes" VALUES(2,1,'objectives','["eval/reward"]');
INSERT INTO "study_user_attributes" VALUES(3,1,'config','{"seed": "0", "train.max_steps": "6", "train.batch_size": "${model.recommended.batch_size}", "train.lr_scheduler": "linear", "train.warmup_steps": "0", "train.weight_decay": "0.0", "train.max_grad_norm": "1.0", "train.best_metric": "None", "train.best_mode": "max", "scoring.on_error": "stop", "scoring.max_missing": "0.25", "scoring.workers": "None", "model.name": "tiny", "model.path": "builtin:tiny", "model.revision": "None", "model.license": "apache-2.0", "model.dtype": "float32", "model.attention": "sdpa", "model.trust_remote_code": "False", "model.tokenizer": "None", "model.chat": "False", "model.chat_template": "None", "model.pad_token": "None", "model.eos_token": "None", "model.shape": "None", "model.recommended.learning_rate": "0.002", "model.recommended.preference_learning_rate": "0.001", "model.recommended.sft_learning_rate": "0.001", "model.recommended.preference_beta": "0.5", "model.recommended.max_steps": "30", "model.recommended.batch_size": "64", "model.recommended.micro_batch_size": "None", "peft.kind": "auto", "peft.r": "16", "peft.alpha": "32", "peft.dropout": "0.0", "peft.target_modules": "all-linear", "peft.learning_rate_factor": "10", "peft.save": "adapter", "data._target_": "rlexp.data.reviews.Reviews", "data.name": "reviews", "data.license": "apache-2.0", "data.size": "4000", "data.seed": "0", "data.prompt_words": "[3, 5]", "data.eval_fraction": "0.1", "data.max_rows": "None", "data.text_prompt": "{prompt}", "data.chat_prompt": "Continue this short film review in one or two sentences. Reply with the continuation only.\n\n{prompt}", "data.max_prompt_length": "64", "data.max_completion_length": "48", "reward._target_": "rlexp.rewards.sentiment.Sentiment", "reward.name": "sentiment", "reward.scope": "whole", "reward.path": "None", "reward.positive": "[''positive'', ''pos'']", "reward.negative": "[''negative'', ''neg'']", "reward.revision": "None", "reward.device": "policy", "reward.batch_size": "64", "reward.max_length": "512", "eval.name": "quick", "eval.prompts": "64", "eval.completions": "1", "eval.every": "5", "eval.texts": "32", "eval.max_completion_length": "${data.max_completion_length}", "eval.temperature": "1.0", "eval.seed": "20260", "eval.bootstrap": "500", "eval.judge": "None", "eval.judge_prompts": "32", "eval.texts_path": "None", "eval.slices": "[]", "eval.best_of": "0", "eval.best_of_prompts": "32", "guards.name": "default", "guards.reward_hacking": "warn", "guards.kl_budget": "warn", "guards.forgetting": "warn", "guards.collapse": "warn", "guards.instability": "warn", "guards.every": "10", "guards.prompts": "32", "guards.texts": "32", "guards.answers": "32", "guards.grammatical_fall": "0.1", "guards.gold_fall": "0.25", "guards.reference_perplexity_rise": "1.5", "guards.distinct_fall": "2.0", "guards.length_drift": "2.0", "guards.together": "2.0", "guards.patience": "2", "guards.perplexity_rise": "2.0", "guards.kl_limit": "1.0", "guards.entropy_fall": "3.0", "guards.zero_variance": "0.9", "guards.spike": "10.0", "guards.window": "10", "algo._target_": "rlexp.algos.dpo.Dpo", "algo.name": "dpo", "algo.loss_weights": "None", "algo.label_smoothing": "0.0", "algo.max_length": "512", "algo.pairs.prompts": "1024", "algo.pairs.completions": "4", "algo.pairs.temperature": "1.0"}');
INSERT INTO "study_user_attributes" VALUES(4,1,'command','"python -m rlexp -m sweep=dpo_basics sweep.n_trials=5 train.max_steps=6 eval=quick sweep.folder=multirun/study"');
INSERT INTO "study_user_attributes" VALUES(5,1,'folder','"/RUNS/multirun/study"');
INSERT INTO "study_user_attributes" VALUES(6,1,'sampler','"optuna.samplers.TPESampler"');
INSERT INTO "study_user_attributes" VALUES(7,1,'pruner','"optuna.pruners.MedianPruner"');
INSERT INTO "study_user_attributes" VALUES(8,1,'parent','"fe2ce2e2444e4838b2ae0daf3bda918e"');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_heartbeats" VALUES(1,1,'2026-11-30 10:56:19.000000');
INSERT INTO "trial_heartbeats" VALUES(2,2,'2026-11-30 10:56:19.000000');
INSERT INTO "trial_heartbeats" VALUES(3,3,'2026-11-30 10:56:29.000000');
INSERT INTO "trial_heartbeats" VALUES(4,4,'2026-11-30 10:56:29.000000');
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,5,0.6392171875,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,2,5,9.39457812499999822541e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,3,5,6.18754687499999844746e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,4,5,6.21129687500000082778e-01,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'algo.learning_rate',1.49262967965543640568e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.006, "log": true}}');
INSERT INTO "trial_params" VALUES(2,1,'algo.beta',5.4820042429951365559e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 2.0, "log": true}}');
INSERT INTO "trial_params" VALUES(3,1,'algo.loss_type',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["[sigmoid]", "[ipo]", "[hinge]"]}}');
INSERT INTO "trial_params" VALUES(4,2,'algo.learning_rate',5.53749868274463694084e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.006, "log": true}}');
INSERT INTO "trial_params" VALUES(5,2,'algo.beta',2.95929951104043686971e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 2.0, "log": true}}');
INSERT INTO "trial_params" VALUES(6,2,'algo.loss_type',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["[sigmoid]", "[ipo]", "[hinge]"]}}');
INSERT INTO "trial_params" VALUES(7,3,'algo.learning_rate',1.62184636218603238887e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.006, "log": true}}');
INSERT INTO "trial_params" VALUES(8,3,'algo.beta',1.25552919068393858958e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 2.0, "log": true}}');
INSERT INTO "trial_params" VALUES(9,3,'algo.loss_type',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["[sigmoid]", "[ipo]", "[hinge]"]}}');
INSERT INTO "trial_params" VALUES(10,4,'algo.learning_rate',1.26049272336413832953e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.006, "log": true}}');
INSERT INTO "trial_params" VALUES(11,4,'algo.beta',1.54128469018005165303e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 2.0, "log": true}}');
INSERT INTO "trial_params" VALUES(12,4,'algo.loss_type',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["[sigmoid]", "[ipo]", "[hinge]"]}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'owner','{"host": "HOST", "pid": 9494, "created": 1796036175.56}');
INSERT INTO "trial_user_attributes" VALUES(2,1,'overrides','["algo.learning_rate=0.0014926296796554364", "algo.beta=0.5482004242995137", "algo.loss_type=[hinge]"]');
INSERT INTO "trial_user_attributes" VALUES(3,2,'owner','{"host": "HOST", "pid": 9495, "created": 1796036175.58}');
INSERT INTO "trial_user_attributes" VALUES(4,2,'overrides','["algo.learning_rate=0.005537498682744637", "algo.beta=0.2959299511040437", "algo.loss_type=[sigmoid]"]');
INSERT INTO "trial_user_attributes" VALUES(5,1,'folder','"/RUNS/multirun/study/0"');
INSERT INTO "trial_user_attributes" VALUES(6,2,'folder','"/RUNS/multirun/study/1"');
INSERT INTO "trial_user_attributes" VALUES(7,1,'run_id','"f0e712d6d26e42f3ac9e4cfdecba80eb"');
INSERT INTO "trial_user_attributes" VALUES(8,3,'owner','{"host": "HOST", "pid": 9496, "created": 1796036175.59}');
INSERT INTO "trial_user_attributes" VALUES(9,3,'overrides','["algo.learning_rate=0.0016218463621860324", "algo.beta=0.12555291906839386", "algo.loss_type=[sigmoid]"]');
INSERT INTO "trial_user_attributes" VALUES(10,2,'run_id','"385142fb24144878a24645536f016639"');
INSERT INTO "trial_user_attributes" VALUES(11,4,'owner','{"host": "HOST", "pid": 9497, "created": 1796036175.6}');
INSERT INTO "trial_user_attributes" VALUES(12,3,'folder','"/RUNS/multirun/study/2"');
INSERT INTO "trial_user_attributes" VALUES(13,4,'overrides','["algo.learning_rate=0.0012604927233641383", "algo.beta=1.5412846901800517", "algo.loss_type=[ipo]"]');
INSERT INTO "trial_user_attributes" VALUES(14,4,'folder','"/RUNS/multirun/study/3"');
INSERT INTO "trial_user_attributes" VALUES(15,3,'run_id','"c4fa5579dde34149951e7978823b3cb5"');
INSERT INTO "trial_user_attributes" VALUES(16,4,'run_id','"5886023a81a042189aa0fb961488ef37"');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,6.14657812499999844924e-01,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,9.440328124999999293e-01,'FINITE');
INSERT INTO "trial_values" VALUES(3,3,0,6.24251562499999690381e-01,'FINITE');
INSERT INTO "trial_values" VALUES(4,4,0,6.14254687500000229327e-01,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-30 10:56:09.966665','2026-11-30 10:56:24.635600');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-30 10:56:10.271300','2026-11-30 10:56:24.984406');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-30 10:56:24.705089','2026-11-30 10:56:34.063185');
INSERT INTO "trials" VALUES(4,3,1,'COMPLETE','2026-11-30 10:56:25.032364','2026-11-30 10:56:34.229803');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
