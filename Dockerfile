# The Python that constraints.txt is made for and the tests run on.
FROM python:3.11-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/imgapi
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
# Modules are compiled here, for nothing can be written where they run.
# docker build --build-arg EXTRAS=onnx … for cutting out with a matting model.
ARG EXTRAS=""
RUN /opt/imgapi/bin/pip install --compile --constraint constraints.txt ".${EXTRAS:+[$EXTRAS]}"


FROM python:3.11-slim-bookworm

# libcairo2 for the cairosvg renderer; the fonts are what text in an SVG is drawn with, Chinese included.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends fontconfig fonts-dejavu-core fonts-noto-cjk libcairo2 \
    && rm -rf /var/lib/apt/lists/* \
    && fc-cache --system-only

RUN groupadd --system --gid 10001 imgapi \
    && useradd --system --uid 10001 --gid imgapi --no-create-home --home-dir /tmp --shell /usr/sbin/nologin imgapi \
    && install --directory --owner imgapi --group imgapi --mode 0750 /var/lib/imgapi

COPY --from=build /opt/imgapi /opt/imgapi

# Only /var/lib/imgapi (results, converted files) and /tmp are written to; the rest may be read-only.
ENV PATH=/opt/imgapi/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/tmp/.cache \
    IMGAPI_DATA_DIR=/var/lib/imgapi
WORKDIR /tmp
USER 10001:10001
VOLUME ["/var/lib/imgapi"]
EXPOSE 5000

# Asked without a proxy, whatever the environment names for the world outside; an answer other than 2xx raises.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:5000/livez', timeout=4).close()"]

CMD ["imgapi", "serve", "--host", "0.0.0.0"]
