"""What the YAML files of this folder may say, field by field.

Every model refuses unknown keys, so a misspelt field is an error and not a default.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

Reader = Literal["boxed", "answer-tag", "answer-line", "first-number", "any"]
Reading = Literal["strict", "lenient"]
RewardName = Literal["correctness", "format", "random", "inverted"]
Share = Annotated[float, Field(ge=0, le=1)]
Precision = Literal["fp32", "tf32", "bf16", "fp16", "fp8", "fp4"]
Control = Literal["random", "format", "inverted"]


def _distinct(values: list[Any]) -> list[Any]:
    if twice := [value for value, count in Counter(values).items() if count > 1]:
        raise ValueError(f"{twice[0]} is named more than once")
    return values


Distinct = AfterValidator(_distinct)
Names = Annotated[list[str], Field(min_length=1), Distinct]


class Config(BaseModel):
    """A named YAML file; `name` equals the file's stem."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str


class TinyCorpus(BaseModel):
    """The pretraining prior of a tiny base: two dials, set apart on purpose.

    `knowledge` is the share of notebook documents whose arithmetic is right (the rest have random digits).
    `worked` is the share of question documents that show a worked solution (the rest refuse or guess).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    knowledge: Share
    worked: Share


class Package(BaseModel):
    """Weights that come inside a package of the Python index: one GGUF file, told by its sha256."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    package: str
    version: str
    file: Annotated[str, Field(pattern=r"\.gguf$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Latent(BaseModel):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): ranks and head dimensions.

    What is cached of a token is `kv_rank` values shared by all heads and `rope_dim` of position.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    query_rank: Annotated[int, Field(gt=0)] | None
    kv_rank: Annotated[int, Field(gt=0)]
    nope_dim: Annotated[int, Field(gt=0)]
    rope_dim: Annotated[int, Field(gt=0)]
    value_dim: Annotated[int, Field(gt=0)]


class Experts(BaseModel):
    """A mixture of experts: all layers but the first `dense_layers` route each token to `active` of `routed` experts."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    routed: Annotated[int, Field(gt=0)]
    active: Annotated[int, Field(gt=0)]
    shared: Annotated[int, Field(ge=0)]
    intermediate: Annotated[int, Field(gt=0)]
    dense_layers: Annotated[int, Field(ge=0)]


class Architecture(BaseModel):
    """Shapes of a decoder with gated MLPs, enough to count its weights, its arithmetic and its cache.

    `windowed_layers` attend to the last `window` tokens only. With `latent`, `kv_heads` and `head_dim` are unused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    layers: Annotated[int, Field(gt=0)]
    hidden: Annotated[int, Field(gt=0)]
    intermediate: Annotated[int, Field(gt=0)]
    heads: Annotated[int, Field(gt=0)]
    kv_heads: Annotated[int, Field(gt=0)]
    head_dim: Annotated[int, Field(gt=0)]
    vocabulary: Annotated[int, Field(gt=0)]
    tied: bool
    latent: Latent | None = None
    experts: Experts | None = None
    window: Annotated[int, Field(gt=0)] | None = None
    windowed_layers: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _is_whole(self) -> Architecture:
        if self.heads % self.kv_heads:
            raise ValueError("kv_heads must divide heads")
        if (self.window is None) != (self.windowed_layers == 0) or self.windowed_layers > self.layers:
            raise ValueError("windowed_layers goes with window, and cannot exceed layers")
        if self.experts and not self.experts.active <= self.experts.routed:
            raise ValueError("more experts active than there are")
        return self


class Base(Config):
    """A model before RL: where it is, what is publicly known of its pretraining, and how it is asked.

    `parameters` and `active_parameters` are counts, `pretraining_tokens` is a count of tokens,
    `context_length` is in tokens. `corpus` is set for the tiny bases that `scripts/pretrain.py` makes, `package` for
    those that `scripts/fetch.py` gets from the package index, `hub_id` for all others.
    """

    hub_id: str | None = None
    package: Package | None = None
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    corpus: TinyCorpus | None = None
    parameters: Annotated[float, Field(gt=0)]
    active_parameters: Annotated[float, Field(gt=0)]
    architecture: Architecture | None = None
    pretraining_tokens: Annotated[float, Field(gt=0)] | None
    midtraining_maths: str | None
    context_length: Annotated[int, Field(gt=0)]
    stop_token_ids: Annotated[list[int], Field(min_length=1)]
    template: str
    recipe: str
    suites: Annotated[list[str], Field(min_length=1)]
    train_suite: str
    sft: str = "cold-start"
    licence: str
    gated: bool
    sources: Annotated[list[str], Field(min_length=1)]

    @property
    def suite(self) -> str:
        """The main audit suite: the first one named."""
        return self.suites[0]

    @model_validator(mode="after")
    def _has_one_origin(self) -> Base:
        if sum(origin is not None for origin in (self.hub_id, self.package, self.corpus)) != 1:
            raise ValueError("a base has one of a hub_id, a package and a tiny corpus")
        if self.active_parameters > self.parameters:
            raise ValueError("active_parameters exceed parameters")
        return self


class Template(Config):
    """How a problem is asked and how the answer is read back.

    `prompt` holds `{problem}` once. `stop` ends a completion; the stop string itself stays in the text.
    `strict` is the contract the prompt states and the one rewards use; `lenient` takes an answer wherever one stands.
    `thinking` says whether the answer may only stand after a closed `</think>`: `opened` when the prompt already
    opened the tag, `asked` when the prompt asks for the tags, `none` otherwise.
    """

    prompt: str
    stop: list[Annotated[str, Field(min_length=1)]] = []
    strict: Reader
    lenient: Reader = "any"
    thinking: Literal["none", "asked", "opened"] = "none"
    source: str

    @model_validator(mode="after")
    def _asks_once(self) -> Template:
        if self.prompt.count("{problem}") != 1:
            raise ValueError("prompt must hold {problem} exactly once")
        return self

    def ask(self, question: str) -> str:
        """The prompt text for one question. Braces in the question are left alone."""
        return self.prompt.replace("{problem}", question)


class AuditPlan(BaseModel):
    """What a training run measures of its base: sizes are counts, `every` is in optimizer steps (0: never between)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    problems: Annotated[int, Field(gt=0)]
    samples: Annotated[int, Field(gt=0)]
    signal_problems: Annotated[int, Field(gt=0)]
    every: Annotated[int, Field(ge=0)]
    every_problems: Annotated[int, Field(gt=0)]
    every_samples: Annotated[int, Field(gt=0)]


class Recipe(Config):
    """How a base is trained: the lab's few fields, and a `grpo` block in TRL's own field names.

    `overlong_cache` is DAPO's soft limit: tokens before the hard limit in which the reward falls to -1 (eq. 13).
    `lora` holds fields of peft's LoraConfig; null trains all weights. `sampler` chooses what is asked: `uniform` goes
    through the set, `edge` keeps what the signal audit found solved sometimes, `posterior` learns as it goes, `resample`
    draws on until the batch is full of groups that teach (DAPO).
    """

    reward: RewardName
    control_of: str | None = None
    """The recipe that this one differs from in what it pays, and in nothing else."""
    reading: Reading
    engine: Literal["transformers", "vllm"]
    sampler: Literal["uniform", "edge", "posterior", "resample"] = "uniform"
    audit: AuditPlan
    overlong_cache: int | None = None
    lora: dict[str, Any] | None = None
    grpo: dict[str, Any]
    sources: Annotated[list[str], Field(min_length=1)]


class Sft(Config):
    """How worked replies are imitated, for the baselines: an `sft` block in TRL's own field names."""

    sft: dict[str, Any]
    sources: Annotated[list[str], Field(min_length=1)]


class HubSuite(BaseModel):
    """A problem set on the hub. `fields` maps our names (problem, answer, id, level, solution) to the set's columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    config: str | None = None
    split: str
    revision: str | None = None
    fields: dict[Literal["problem", "answer", "id", "level", "solution"], str]


class ProceduralSuite(BaseModel):
    """A generated problem set: same generator, split, size and seed, same problems on every machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    generator: Literal["sums", "asked-sums"]
    split: Literal["train", "test"]
    size: Annotated[int, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)]
    digits: Annotated[list[Annotated[int, Field(gt=0, lt=7)]], Field(min_length=1)] = [3]
    """Of each number; as many problems of one as of another. sums takes 2 or more, asked-sums takes one entry, 1 or 2."""

    @model_validator(mode="after")
    def _can_be_made(self) -> ProceduralSuite:
        if self.generator == "sums" and min(self.digits) < 2:
            raise ValueError("sums has numbers of 2 digits or more; use asked-sums for one digit")
        if self.generator == "asked-sums" and (len(self.digits) > 1 or self.digits[0] > 2):
            raise ValueError("asked-sums has one number of digits, 1 or 2")
        return self


class GymSuite(BaseModel):
    """Problems of a reasoning-gym task (Stojanovski et al. 2025, arXiv 2505.24760) with its options; no question twice.

    The first `skip` different questions are left to another suite of the same task, options and seed, to be held out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    task: str
    options: dict[str, Any] = {}
    size: Annotated[int, Field(gt=0)]
    skip: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0)]
    level: str | None = None


class Suite(Config):
    """A problem set, from the hub or from a generator. `answer` is how the gold is read from its column."""

    hub: HubSuite | None = None
    procedural: ProceduralSuite | None = None
    reasoning_gym: GymSuite | None = None
    answer: Literal["as-is", "after-hashes", "first-of-list"] = "as-is"
    form: Literal["any", "final", "aime"] = "any"
    """What a right answer must look like beside being equal: see rewards/verify.py."""
    source: str

    @model_validator(mode="after")
    def _has_one_origin(self) -> Suite:
        if sum(origin is not None for origin in (self.hub, self.procedural, self.reasoning_gym)) != 1:
            raise ValueError("a suite has one of the blocks hub, procedural and reasoning_gym")
        return self


class AuditGrid(BaseModel):
    """Every base of a study asked every suite under every template. `limit` is in problems, `max_tokens` per completion.

    What is null is left to scripts/audit.py. `shots` is one number of worked examples or several, each measured. With
    `trained`, the models of the study's own runs are measured too. `seed` is of sampling, and of a tiny base's pretraining.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    suites: Names
    templates: Names
    samples: Annotated[int, Field(gt=0)] | None = None
    limit: Annotated[int, Field(gt=0)] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    engine: Literal["transformers", "vllm"] | None = None
    shots: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), Distinct] = [0]
    trained: bool = False
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("shots", mode="before")
    @classmethod
    def _one_number_is_a_list_of_one(cls, given: Any) -> Any:
        return [given] if isinstance(given, int) else given


class Slurm(BaseModel):
    """What one job of a study asks of Slurm; `hours` of wall time, `memory_gb` of one node. Null is the cluster's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    partition: str | None = None
    account: str | None = None
    gpus: Annotated[int, Field(ge=0)] = 0
    cpus: Annotated[int, Field(gt=0)] = 4
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    hours: Annotated[float, Field(gt=0)] = 4.0


class Study(Config):
    """Training runs (bases by recipes by seeds, and controls of each), audits (bases by suites by templates), or both.

    A `control` trains like its recipe on a reward that says nothing of being right. `recipe: NAME` is short for
    `recipes: [NAME]`.
    """

    question: str
    bases: Names
    recipes: Annotated[list[str], Distinct] = []
    controls: Annotated[list[Control], Distinct] = []
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), Distinct] = [0]
    audits: AuditGrid | None = None
    slurm: Slurm = Slurm()

    @model_validator(mode="before")
    @classmethod
    def _one_recipe_is_a_list_of_one(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "recipe" not in given:
            return given
        if "recipes" in given:
            raise ValueError("a study has recipe or recipes, not both")
        return {key: value for key, value in given.items() if key != "recipe"} | {"recipes": [given["recipe"]]}

    @model_validator(mode="after")
    def _does_something(self) -> Study:
        if not self.recipes and not self.audits:
            raise ValueError("a study has recipes (to train), audits (to measure), or both")
        if self.audits and self.audits.trained and not self.recipes:
            raise ValueError("audits of trained models go with recipes, which train them")
        if self.controls and not self.recipes:
            raise ValueError("controls are of training runs, so they go with recipes")
        return self


class Price(BaseModel):
    """What one GPU costs for an hour, in US dollars: the cheapest and the dearest public offer that was found."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    low: Annotated[float, Field(ge=0)]
    high: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _is_ordered(self) -> Price:
        if self.low > self.high:
            raise ValueError("low price exceeds high price")
        return self


class Device(Config):
    """An accelerator. Peaks are dense (no sparsity), in 10^12 operations a second; memory in 10^9 bytes.

    `driver_names` are what its driver calls it, so that a run's manifest finds its entry.
    """

    peak_tflops: Annotated[dict[Precision, Annotated[float, Field(gt=0)]], Field(min_length=1)]
    memory_gb: Annotated[float, Field(gt=0)]
    bandwidth_gb_s: Annotated[float, Field(gt=0)]
    usd_per_hour: Price
    driver_names: Annotated[list[str], Field(min_length=1)]
    sources: Annotated[list[str], Field(min_length=1)]
