# docker build --platform linux/amd64 -t flow-shim .
# An image that contains only the static binary. To copy the binary out of it:
#   docker create --name flow-shim flow-shim && docker cp flow-shim:/flow-shim . && docker rm flow-shim
FROM rust:1-slim-bookworm AS build
WORKDIR /build
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY src src
RUN cargo build --release --locked

FROM scratch
COPY --from=build /build/target/release/flow-shim /flow-shim
ENTRYPOINT ["/flow-shim"]
