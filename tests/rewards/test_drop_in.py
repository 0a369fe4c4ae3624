"""The verifier as other programs call it: TRL's reward functions and math-verify's two functions."""

import math_verify
import pytest

from rewards.drop_in import accuracy_reward, parse, verify


def test_it_is_called_as_trl_calls_reward_functions():
    completions = [r"so \boxed{\frac12}", r"so \boxed{2}", "no box", r"<think>\boxed{0.5}"]
    columns = {"prompts": ["?"] * 4, "completion_ids": [[1]] * 4, "trainer_state": None}
    assert accuracy_reward(completions=completions, solution=["0.5"] * 4, **columns) == [1.0, 0.0, 0.0, 0.0]
    chats = [[{"role": "assistant", "content": text}] for text in completions]
    assert accuracy_reward(completions=chats, answer=[r"$\boxed{\frac{1}{2}}$"] * 4, **columns) == [1.0, 0.0, 0.0, 0.0]


def test_a_gold_as_data_sets_store_it_is_no_reason_to_withhold_the_reward():
    golds = ["5", r"\frac34", r"\frac{\pi}{2}", "(3,4)", r"\text{even}", r"5\sqrt7", r"10,\!000", r"\text{(B)}"]
    assert accuracy_reward([rf"\boxed{{{gold}}}" for gold in golds], solution=golds) == [1.0] * len(golds)


def test_a_gold_that_is_no_good_gives_no_reward_at_all_and_no_gold_is_an_error():
    assert accuracy_reward([r"\boxed{5}"], solution=[""]) == [None]
    with pytest.raises(TypeError, match="rename your gold's column"):
        accuracy_reward([r"\boxed{5}"])


@pytest.mark.parametrize(
    ("gold", "text"),
    [("$3$", r"so $\boxed{3}$"), (r"$\frac{1}{2}$", "the answer is $0.5$"), ("$(1,2)$", "$(2,1)$"), ("$5$", "maybe 6")],
)
def test_where_math_verify_is_right_the_drop_in_says_the_same(gold, text):
    theirs = math_verify.verify(math_verify.parse(gold), math_verify.parse(text))
    assert verify(parse(gold), parse(text), float_rounding=6) == theirs
