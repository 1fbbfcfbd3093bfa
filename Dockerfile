# Built where the Rust toolchain is, run where only git, ssh and gpg are: Coalmine calls them for its commits.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY src src
COPY config config
COPY benches benches
COPY tests tests
RUN cargo build --release --locked --bin coalmine

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends git openssh-client gpg gpg-agent ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 65532 --user-group --no-create-home --home-dir /var/lib/coalmine coalmine \
    && install -d -o 65532 -g 65532 /var/lib/coalmine
COPY --from=build /src/target/release/coalmine /usr/local/bin/coalmine
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["coalmine"]
CMD ["serve", "--settings", "/etc/coalmine/settings/settings.yaml"]
