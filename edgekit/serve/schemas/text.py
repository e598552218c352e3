"""Tasks that read texts and answer with numbers or spans."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from edgekit.serve.schemas.strict import Amount, Count, Parameters, Request, Template, Text

Activation = Literal["softmax", "sigmoid", "none"]
Texts = Annotated[Text | list[Text], Field(description="A text, or several.")]
Vector = list[float]

_closed = with_config(ConfigDict(extra="forbid", strict=True))


class LabelScore(TypedDict):
    """A label with its score."""

    label: str
    score: float


class EmbedRequest(Request):
    """Texts to turn into vectors."""

    inputs: Texts


EmbedAnswer = Vector | list[Vector]


class FeatureRequest(Request):
    """Texts whose token states are wanted."""

    inputs: Texts


FeatureAnswer = list[list[Vector]] | list[list[list[Vector]]]


@_closed
class TextPair(TypedDict):
    """A text and what stands beside it."""

    text: str
    text_pair: NotRequired[str]


class ClassificationParameters(Parameters):
    """Options of classification."""

    top_k: Count | None = None
    function_to_apply: Activation | None = None


class TextClassificationRequest(Request):
    """Texts, or pairs of texts, to label."""

    inputs: Text | TextPair | list[Text | TextPair]
    parameters: ClassificationParameters = ClassificationParameters()


TextClassificationAnswer = LabelScore | list[LabelScore] | list[list[LabelScore]]


class TokenClassificationParameters(Parameters):
    """Options of token classification."""

    aggregation_strategy: Literal["none", "simple", "first", "average", "max"] = "none"
    ignore_labels: list[str] = Field(default_factory=lambda: ["O"])
    stride: Amount | None = None


class TokenClassificationRequest(Request):
    """Texts whose tokens are labelled."""

    inputs: Texts
    parameters: TokenClassificationParameters = TokenClassificationParameters()


class Entity(TypedDict):
    """A token, or with an aggregation strategy a group of them."""

    entity: NotRequired[str]
    entity_group: NotRequired[str]
    score: float
    index: NotRequired[int]
    word: str
    start: int
    end: int


TokenClassificationAnswer = list[Entity] | list[list[Entity]]


@_closed
class QuestionContext(TypedDict):
    """A question, and the text that answers it."""

    question: str
    context: str


class QuestionParameters(Parameters):
    """Options of question answering."""

    top_k: Count = 1
    doc_stride: Amount | None = None
    max_answer_len: Count = 15
    max_seq_len: Count | None = None
    max_question_len: Count | None = None
    handle_impossible_answer: bool = False
    align_to_words: bool = True


class QuestionRequest(Request):
    """Questions with their contexts."""

    inputs: QuestionContext | list[QuestionContext]
    parameters: QuestionParameters = QuestionParameters()


class Span(TypedDict):
    """A part of the context."""

    score: float
    start: int
    end: int
    answer: str


QuestionAnswer = Span | list[Span] | list[Span | list[Span]]


class FillMaskParameters(Parameters):
    """Options of masked words."""

    top_k: Count = 5
    targets: str | list[str] | None = None


class FillMaskRequest(Request):
    """Texts with masked words."""

    inputs: Texts
    parameters: FillMaskParameters = FillMaskParameters()


class Filling(TypedDict):
    """A word that may stand where the mask is."""

    score: float
    token: int
    token_str: str
    sequence: str


FillMaskAnswer = list[Filling] | list[list[Filling]] | list[list[Filling] | list[list[Filling]]]


class ZeroShotParameters(Parameters):
    """Options of zero-shot classification."""

    candidate_labels: str | Annotated[list[str], Field(min_length=1)]
    hypothesis_template: Template = "This example is {}."
    multi_label: bool = False


class ZeroShotRequest(Request):
    """Texts, and the labels to choose from."""

    inputs: Texts
    parameters: ZeroShotParameters


class ZeroShotScores(TypedDict):
    """The labels from the likeliest on."""

    sequence: str
    labels: list[str]
    scores: list[float]


ZeroShotAnswer = ZeroShotScores | list[ZeroShotScores]


@_closed
class QueryDocuments(TypedDict):
    """A query, and what may answer it."""

    query: str
    documents: list[str]


class RankingParameters(Parameters):
    """Options of ranking."""

    top_k: Count | None = None
    return_documents: bool = False


class RankingRequest(Request):
    """Queries with their documents."""

    inputs: QueryDocuments | list[QueryDocuments]
    parameters: RankingParameters = RankingParameters()


class Ranked(TypedDict):
    """A document's place among those given, and its score."""

    corpus_id: int
    score: float
    text: NotRequired[str]


RankingAnswer = list[Ranked] | list[list[Ranked]]
