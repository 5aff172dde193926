# One file, two images: `--target api` and `--target worker`. The CUDA libraries come with torch's own wheel.
FROM node:24-bookworm-slim AS web
WORKDIR /build/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci
COPY web ./
RUN npm run build

FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    LASER_HOME=/data LASER_WEB_DIR=/app/web/dist
WORKDIR /app
RUN useradd --system --uid 10001 --home-dir /data --create-home laser
COPY requirements.lock ./
RUN pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY laser_core laser_core
COPY store store
USER 10001
VOLUME /data

FROM base AS api
COPY api api
COPY --from=web /build/web/dist web/dist
ENV LASER_HOST=0.0.0.0
EXPOSE 8420
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8420/api/v1/health', timeout=2)"]
CMD ["python", "-m", "api"]

FROM base AS worker
USER 0
RUN pip install torch==2.13.0
USER 10001
COPY worker worker
STOPSIGNAL SIGTERM
CMD ["python", "-m", "celery", "--app", "worker.app", "worker", "--loglevel", "INFO", "--without-mingle", "--without-gossip", "--without-heartbeat"]
