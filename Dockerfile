# The daemon in a container. The data folder is the volume /data; it begins with the sample flows.
#
#   docker build -t octospool .
#   docker run --init -p 127.0.0.1:5000:5000 -v octospool:/data -e API_TOKEN="$(openssl rand -hex 32)" octospool
#
# API_TOKEN is needed: in a container the daemon listens on all addresses (API_HOST=0.0.0.0), and with the
# default token, or one under 16 characters, it refuses to do that.
FROM python:3.11-slim

RUN useradd --system --uid 1000 --create-home octospool
WORKDIR /app

# Packages that only some steps need: --build-arg EXTRAS="psycopg[binary] redis minio" (docs/operations.md).
ARG EXTRAS=""
COPY requirements.txt requirements-extras.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements.txt -c requirements-extras.txt $EXTRAS

COPY main.py ./
COPY flow_processor flow_processor
COPY --chown=octospool:octospool data /data

ENV DATA_PATH=/data API_HOST=0.0.0.0 API_PORT=5000 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER octospool
VOLUME /data
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"API_PORT\"]}/healthz', timeout=4)"]

CMD ["python", "main.py"]
