"""What `reward=math` pays for: right final answers however they are written, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from reward_specs import reward

SUM = "What is 28 + 96? Reply with the number only."
SHOP = (
    "Janet's ducks lay 16 eggs per day. She eats 3 and bakes 4. She sells the rest for $2 each. "
    "How much does she make every day?"
)
ROOT = r"What is the sine of 45 degrees? Simplify $\sqrt{8}/4$."

RIGHT: list[tuple[str, Any, str]] = [
    # marks
    ("<answer>16</answer>", "16", ""),
    ("<think>We add 1 and 2.</think>\n<answer>\n16\n</answer>", "16", ""),
    (r"<think>a</think><answer>\boxed{16}</answer>", "16", ""),
    ("<answer>She makes $18 per day</answer>", "18", SHOP),
    ("<answer>9 * 2 = 18</answer>", "18", SHOP),
    ("**16**", "16", ""),
    ("`16`", "16", ""),
    ("(16)", "16", ""),
    ("#### **16**", "16", ""),
    ("####\n16", "16", ""),
    ("#### Step 1: add\n3 + 4 = 7\n#### Final Answer\n" + r"\boxed{7}", "7", ""),
    ("#### 1. Add the two\n3 + 4 = 7\n\nThe answer is 7.", "7", ""),
    (r"The final answer is $\boxed{16}$. I hope it is correct.", "16", ""),
    ("### Final answer\n\n16", "16", ""),
    ("✅ Final Answer: **73**", "73", ""),
    ("**Answer:** 16", "16", ""),
    ("The answer to the question is: 16.", "16", ""),
    (r"The answer is \boxed{840}, which I explain.\n**Final Answer** \boxed{840}", "840", ""),
    (r"the last three digits are 004. So, \boxed{004} is correct.", "4", ""),
    ("Answer:\n\n$16$", "16", ""),
    ("Answer: 16</s>", "16", ""),
    ("x = 2 or x = -2", "2, -2", ""),
    ("The roots are 2 and -2.", "-2, 2", ""),
    # the result of a last statement
    ("28 + 96 = 124", "124", SUM),
    ("124", "124", SUM),
    ("So 28 + 96 = 124.", "124", SUM),
    ("She has 16 apples left.", "16", ""),
    ("She is left with 9 eggs, worth $18.", "18", SHOP),
    ("16 - 3 - 4 = 9\n9 * 2 = 18", "18", SHOP),
    ("She sells 9 eggs for $2 each, so she makes $18.\n\nI hope this helps!", "18", SHOP),
    ("Therefore, x = 16.", "16", ""),
    ("Thus $x = 16$", "16", ""),
    ("The result is 16", "16", ""),
    ("Thus, there are 9 + 6 = 15 liters of water out of the 24 liters.", "15", ""),
    ("She earns 9 * 2 = $<<9*2=18>>18 every day", "18", SHOP),
    ("Therefore, 240 x 1/3 = 80 pencils were left.", "80", ""),
    ("x = 7/3 ≈ 2.33", "7/3", ""),
    # notation of numbers
    ("28%", r"28\%", ""),
    (r"\boxed{28\%}", "28", ""),
    (r"\boxed{28 percent}", r"28\%", ""),
    ("$28$ percent", r"$28\%$", ""),
    ("72%", "0.72", ""),
    (r"9\,500", "9500", ""),
    ("9,500", "9500", ""),
    ("9 500", "9500", ""),
    ("9'500", "9500", ""),
    (r"\boxed{9{,}500}", "9,500", ""),
    ("12,34,567", "1234567", ""),
    ("(1,450,000)", "1450000", ""),
    ("１８", "18", ""),
    ("£18", "18", ""),
    ("18 €", "18", ""),
    ("¥18", "18", ""),
    ("US$18.00", "18", ""),
    (r"\$18", "18", ""),
    ("-5", "-5", ""),
    ("−5 °C", "-5", ""),
    ("0.5", r"\frac{1}{2}", ""),
    ("1/2", "0.5", ""),
    ("½", "0.5", ""),
    ("1 1/2", "3/2", ""),
    (r"\boxed{1\frac{1}{2}}", "1.5", ""),
    (r"-\frac{3}{4}", r"\frac{-3}{4}", ""),
    (r"1.5 \times 10^3", "1500", ""),
    ("1.5 million", "1,500,000", ""),
    ("16 cm^2", "16", ""),
    (r"\boxed{16 \text{ cm}^2}", "16", ""),
    ("16 km/h", "16", ""),
    (r"\boxed{16^\circ}", "16", ""),
    ("16 square meters", "16 m", ""),
    ("答案是 18 美元。", "18", ""),
    ("所以一共是18个。", "18", ""),
    # closed forms about as simple as the reference
    (r"\frac{\sqrt{2}}{2}", r"\sqrt{2}/2", ROOT),
    (r"\boxed{\frac{1}{\sqrt{2}}}", r"\sqrt{2}/2", ROOT),
    ("√2/2", r"\sqrt{2}/2", ROOT),
    ("sqrt(2)/2", r"\frac{\sqrt{2}}{2}", ROOT),
    ("1024", "2^{10}", ""),
    ("2**10", "2^{10}", ""),
    ("4^5", "2^{10}", ""),
    ("1 + x", "x+1", ""),
    ("$y = 1 + x$", "x+1", ""),
    (r"\boxed{2(x+1)}", "2x + 2", ""),
    ("(x+1)^2", "x^2 + 2x + 1", ""),
    (r"3 \cdot \pi", r"3\pi", ""),
    ("3π", r"3\pi", ""),
    (r"\boxed{x=3}", "3", ""),
    ("3", "x = 3", ""),
    # what is no number
    ("(1, 2)", "(1,2)", ""),
    (r"\boxed{(1,2)}", "(1, 2)", ""),
    (r"[1, \infty)", r"[1,\infty)", ""),
    (r"\boxed{\{1, 2\}}", r"\{2,1\}", ""),
    (r"The roots are \boxed{1} and \boxed{2}", r"\{1, 2\}", ""),
    ("x > 5", "x>5", ""),
    ("B", "B", ""),
    ("(B)", "B", ""),
    ("The answer is **B**.", "(B)", ""),
    ("B) 16 apples", "B", ""),
    (r"\boxed{\text{B}}", r"\textbf{(B)}", ""),
    ("So the correct option is B.", "B", ""),
]

WRONG: list[tuple[str, Any, str]] = [
    # not evaluated
    ("28 + 96", "124", SUM),
    ("96+28", "124", SUM),
    ("28 + 96 =", "124", SUM),
    ("28 + 96 = 28 + 96", "124", SUM),
    ("The answer is 28 + 96.", "124", SUM),
    ("<answer>28 + 96</answer>", "124", SUM),
    (r"\boxed{28+96}", "124", SUM),
    ("#### 28 + 96", "124", SUM),
    ("$28 + 96$", "124", SUM),
    ("124 = 28 + 96", "124", SUM),
    ("2*62", "124", SUM),
    (r"2 \times 62", "124", SUM),
    ("(2)(62)", "124", SUM),
    ("124+0", "124", SUM),
    ("124 * 1", "124", SUM),
    ("124/1", "124", SUM),
    (r"\frac{248}{2}", "124", SUM),
    ("248/2", "124", SUM),
    (r"\sqrt{15376}", "124", SUM),
    ("5!", "120", ""),
    (r"\binom{5}{2}", "10", ""),
    (r"|-124|", "124", SUM),
    (r"\lfloor 124.5 \rfloor", "124", SUM),
    ("-(-124)", "124", SUM),
    ("1/4 + 1/4", "1/2", ""),
    ("6/8", "0.75", "What is 6 divided by 8?"),
    (r"\sqrt{8}/4", r"\sqrt{2}/2", ROOT),
    (r"\sin(45^\circ)", r"\sqrt{2}/2", ROOT),
    ("512*2", "2^{10}", ""),
    ("x + 2 - 1", "x+1", ""),
    ("x + x", "2x", "Simplify $x + x$."),
    ("(x+1)^2", "x^2 + 2x + 1", "Expand $(x+1)^2$."),
    (r"(1+2)\pi", r"3\pi", ""),
    ("(1, 1+1)", "(1,2)", ""),
    # not final
    ("1, 2, 3, 4, 124", "124", SUM),
    ("1 2 3 4 124", "124", SUM),
    ("1, 2, 3 … 124", "124", SUM),
    ("1\n2\n3\n124", "124", SUM),
    ("1 apple, 2 apples, 124 apples", "124", SUM),
    ("It is 1. It is 2. It is 124.", "124", SUM),
    ("It is 123 or 124.", "124", SUM),
    ("It is 28 + 96 = 124 or 125.", "124", SUM),
    ("It is 123, maybe 124", "124", SUM),
    ("$123$ or $124$", "124", SUM),
    ("The answer is 123 or 124.", "124", SUM),
    ("The answer is 123. The answer is 124.", "124", SUM),
    (r"\boxed{123} \boxed{124}", "124", SUM),
    (r"\boxed{123}, no: wait, I think after all that it is \boxed{124}", "124", SUM),
    (r"\boxed{123, 124}", "124", SUM),
    ("<answer>123</answer><answer>124</answer>", "124", SUM),
    ("<answer>123 124</answer>", "124", SUM),
    ("<answer>123 or 124</answer>", "124", SUM),
    ("<answer>123 = 124</answer>", "124", SUM),
    ("#### 123\n#### 124", "124", SUM),
    (r"#### 124 and \boxed{123}", "124", SUM),
    ("A, B, C or D", "B", ""),
    ("A B C D", "B", ""),
    ("<answer>A</answer> <answer>B</answer>", "B", ""),
    ("<think>it is 124", "124", SUM),
    ("20 + 90 = 110, 110 + 14 = 124, so we now", "124", SUM),
    ("We get 124. Then we take the sum of the tens and", "124", SUM),
    (r"\boxed{12", "12", ""),
    (r"It is \boxed{12}, so \boxed{", "12", ""),
    ("<answer>12", "12", ""),
    ("18 #### none", "18", ""),
    ("Is it 124?", "124", SUM),
    ("The answer is not 124.", "124", SUM),
    # echo and constants
    (SUM, "124", SUM),
    (SUM, "96", SUM),
    (SHOP, "2", SHOP),
    ("She sells the rest for $2 each.", "2", SHOP),
    ("16, 3, 4, 2", "2", SHOP),
    ("16 3 4 2", "2", SHOP),
    ("I don't know.", "124", SUM),
    ("", "124", SUM),
    ("124 124 124 124", "124", SUM),
    # another number
    ("18 million", "18", ""),
    ("18k", "18", ""),
    ("1/2", "1", ""),
    ("0.72%", "72%", ""),
    ("1,5", "15", ""),
    (r"\pm 2021", "2021", ""),
    (r"$4\sqrt{2}$", "4", ""),
    ("(2,1)", "(1,2)", ""),
    ("[1,2]", "(1,2)", ""),
    ("16 eggs and 18 hens", "16", ""),
    ("C", "B", ""),
    ("x", "y", ""),
]


@pytest.mark.parametrize(("completion", "right", "prompt"), RIGHT)
def test_a_right_answer_counts_however_it_is_written(
    completion: str, right: Any, prompt: str
) -> None:
    """A policy that is pushed away from right answers by their brackets, units or tags."""
    assert reward("math")([prompt], [completion], answer=[right]) == [1.0]


@pytest.mark.parametrize(("completion", "right", "prompt"), WRONG)
def test_nothing_is_paid_for_echoes_guesses_and_rambles(
    completion: str, right: Any, prompt: str
) -> None:
    """A policy that learns to restate the question, or to name every number."""
    assert reward("math")([prompt], [completion], answer=[right]) == [0.0]


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        (r"We add: 28 + 96 = 124. \boxed{124}", 1.0),
        ("<answer>124</answer>", 1.0),
        ("The answer is 124. I hope it helps.", 1.0),
        ("28 + 96\n#### 124", 1.0),
        ("28 + 96 = 124", 0.0),
        ("124", 0.0),
        (r"\boxed{124} Now another question: what is it? Let us see. It is", 0.0),
    ],
)
def test_an_answer_may_have_to_be_marked(completion: str, value: float) -> None:
    """A number that happens to stand where the text was cut, taken for what was meant."""
    assert reward("math", marked=True)([SUM], [completion], answer=["124"]) == [value]
