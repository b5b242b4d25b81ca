"""What a submit asks for, once its fields are checked; the state the rest of the emulator works on."""

from collections.abc import Mapping
from dataclasses import dataclass

from imgapi.emulator.catalogue import Model


@dataclass(frozen=True, slots=True)
class Order:
    """A checked submission.

    Args:
        model: Who serves it.
        operation: The function of the edit model, a painter's name, or None when the instruction has to tell.
        pictures: Role to URL, in the order given; the roles of chat-style models are '1', '2', ….
        parameters: As sent.
        prompt: The words that come with it.
        count: How many pictures are wanted.
        seed: The seed sent, or None.
    """

    model: Model
    operation: str | None
    pictures: Mapping[str, str]
    parameters: Mapping[str, object]
    prompt: str
    count: int
    seed: int | None
