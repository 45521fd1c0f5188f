FROM docker.io/library/python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/limen
COPY requirements.lock ./
RUN python -m pip --python /opt/limen/bin/python install --quiet --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY service service
RUN python -m pip --python /opt/limen/bin/python install --quiet --no-deps .

FROM docker.io/library/python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="limen" \
      org.opencontainers.image.description="Industrial anomaly detection with Linear Memory Networks" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 limen \
 && useradd --uid 10001 --gid limen --no-create-home --home-dir /data --shell /usr/sbin/nologin limen \
 && install -d -o limen -g limen -m 0750 /data
COPY --from=build /opt/limen /opt/limen
ENV PATH=/opt/limen/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A folder that is mounted at /data instead of a named volume must belong to this user: chown 10001:10001 FOLDER
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# Requests may name localhost and 127.0.0.1 only; for other names set LIMEN_HOSTS_ALLOWED=localhost,limen.plant.example
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
CMD ["limen", "serve", "--host", "0.0.0.0", "--port", "8000", "--data-dir", "/data"]
