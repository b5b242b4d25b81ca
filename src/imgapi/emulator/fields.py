"""Reading single fields of a request body, refusing what the upstream refuses."""

from collections.abc import Collection, Mapping

from imgapi.emulator.answers import Refusal, invalid

_MAX_SEED = 2_147_483_647
_MAX_URL_CHARACTERS = 8_192
_MAX_SCHEME = 10


def read_object(body: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Return a member that is an object; a missing one is empty."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid("Required body invalid, please check the request body format.")
    return value


def read_text(source: Mapping[str, object], name: str, *, required: bool = False) -> str:
    """Return a string member; a missing optional one is empty."""
    value = source.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        raise invalid()
    return value


def read_url(source: Mapping[str, object], name: str, *, required: bool = False) -> str | None:
    """Return a member that holds a picture's URL; None when it is absent, null or empty and not required."""
    value = source.get(name)
    if value is None or value == "":
        if required:
            raise invalid()
        return None
    return check_url(value)


def check_url(value: object) -> str:
    """Return a picture's URL: http, https, data or oss, printable, of bounded length unless it is a data URL."""
    if not isinstance(value, str):
        raise invalid()
    scheme = value[:_MAX_SCHEME].split(":", 1)[0].lower()
    if scheme == "data":
        return value
    # The SDK leaves spaces of a file's name as they are in the key it makes.
    is_clean = value.isprintable() and (scheme == "oss" or " " not in value)
    if scheme not in {"http", "https", "oss"} or len(value) > _MAX_URL_CHARACTERS or not is_clean:
        raise invalid_url()
    return value


def invalid_url() -> Refusal:
    """Refuse a URL that can't be one of a picture."""
    return Refusal(400, "InvalidURL", "Required URL is missing or invalid, please check the request URL.")


def read_whole(source: Mapping[str, object], name: str, default: int | None, least: int, most: int) -> int | None:
    """Return a whole number within bounds; booleans and fractions are refused."""
    value = source.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise invalid(f"Range of {name} should be [{least}, {most}]")
    return value


def read_count(source: Mapping[str, object], most: int, default: int = 1) -> int:
    """Return `n`, the number of pictures wanted."""
    return read_whole(source, "n", default, 1, most) or default


def read_seed(source: Mapping[str, object]) -> int | None:
    """Return `seed`; None when it is left to chance."""
    return read_whole(source, "seed", None, 0, _MAX_SEED)


def check_number(source: Mapping[str, object], name: str, least: float, most: float) -> None:
    """Refuse a number out of bounds; an absent one passes."""
    value = source.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise invalid(f"Range of {name} should be [{least}, {most}]")


def check_flag(source: Mapping[str, object], *names: str) -> None:
    """Refuse anything but a boolean; an absent one passes."""
    for name in names:
        value = source.get(name)
        if value is not None and not isinstance(value, bool):
            raise invalid(f"The parameter {name} must be a boolean.")


def check_choice(
    source: Mapping[str, object], name: str, choices: Collection[object], *, required: bool = False
) -> None:
    """Refuse anything but one of the choices."""
    value = source.get(name)
    if value is None and not required:
        return
    if isinstance(value, bool | list | dict) or value not in choices:
        listed = ", ".join(str(choice) for choice in choices)
        raise invalid(f"The parameter {name} must be one of: {listed}.")
