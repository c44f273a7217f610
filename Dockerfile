# The server in a container: `docker build -t wakeful .`
# Agents run in it, too: build on this image to add their CLIs.
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package wakeful

FROM debian:bookworm-slim
# git for clones and worktrees, certificates for services, tini to reap what agents leave behind.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/wakeful --shell /bin/sh wakeful
COPY --from=build /source/target/release/wakeful /usr/local/bin/wakeful
USER wakeful
ENV WAKEFUL_DATA_DIR=/var/lib/wakeful/data
VOLUME /var/lib/wakeful
EXPOSE 7777
# Not only alive: it answers.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["wakeful", "daemon", "status"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "wakeful"]
CMD ["up", "--listen", "0.0.0.0:7777"]
