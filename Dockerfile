# The daemon in a container. The data folder is the volume /data; it begins with the sample flows.
#
#   docker build -t octospool .
#   docker run --init -p 127.0.0.1:5000:5000 -v octospool:/data -e API_TOKEN="$(openssl rand -hex 32)" octospool
#
# API_TOKEN is needed: in a container the daemon listens on all addresses (API_HOST=0.0.0.0), and with the
# default token, or one under 16 characters, it refuses to do that. What stands in data/ goes into the image: the
# secrets of a working copy belong into variables (secrets.yml: ${NAME}), or into the volume.
FROM python:3.11-slim

RUN useradd --uid 1000 --create-home octospool
WORKDIR /app

# Packages that only some steps need: --build-arg EXTRAS="psycopg[binary] redis minio" (docs/operations.md).
ARG EXTRAS=""
COPY requirements.txt requirements-extras.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements.txt -c requirements-extras.txt $EXTRAS

COPY main.py ./
COPY flow_processor flow_processor
# The daemon may not write here; without this each of its processes would compile the program anew.
RUN python -m compileall -q main.py flow_processor
COPY --chown=octospool:octospool data /data

ENV DATA_PATH=/data API_HOST=0.0.0.0 API_PORT=5000 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER octospool
VOLUME /data
EXPOSE 5000
STOPSIGNAL SIGTERM
# Itself it knows its certificate; whose name that is does not matter here.
HEALTHCHECK --interval=15s --timeout=10s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import os, ssl, urllib.request as u; \
scheme = os.environ.get('API_PROTOCOL', 'http').partition(',')[0]; \
u.urlopen(f'{scheme}://127.0.0.1:{os.environ[\"API_PORT\"]}/healthz', timeout=9, context=ssl._create_unverified_context())"]

CMD ["python", "main.py"]
