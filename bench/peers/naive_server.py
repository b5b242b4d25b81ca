"""What one would write first: FastAPI, Pillow and CairoSVG in a thread, answered as JSON with base64."""

import base64
import io
from typing import Annotated

import cairosvg
from fastapi import FastAPI, Form, UploadFile
from PIL import Image, ImageOps

app = FastAPI()


@app.post("/resize")
def resize(image: UploadFile, side: Annotated[int, Form()], quality: Annotated[int, Form()]) -> dict[str, str]:
    """Scale a picture into a square and encode it as JPEG."""
    picture = ImageOps.exif_transpose(Image.open(image.file))
    picture = ImageOps.contain(picture, (side, side), Image.Resampling.LANCZOS)
    return _answer(picture, "JPEG", quality=quality)


@app.post("/convert")
def convert(image: UploadFile) -> dict[str, str]:
    """Make a PNG of a picture."""
    if image.filename and image.filename.endswith(".svg"):
        rendered: bytes = cairosvg.svg2png(file_obj=image.file)
        return {"image_data": base64.b64encode(rendered).decode()}
    return _answer(ImageOps.exif_transpose(Image.open(image.file)), "PNG")


def _answer(picture: Image.Image, format_name: str, **options: int) -> dict[str, str]:
    out = io.BytesIO()
    picture.save(out, format_name, **options)
    return {"image_data": base64.b64encode(out.getvalue()).decode()}
