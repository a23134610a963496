# triage on a GPU: docker build -t triage . && docker run --gpus all -v triage:/root/.local/share triage triage_tune ...
# tests/install.sh runs these steps in a bare Debian, without Docker.
FROM ubuntu:24.04 AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev make cmake dpkg-dev file \
    liblua5.4-dev libsqlite3-dev libjansson-dev libsodium-dev libpq-dev
COPY . /triage
WORKDIR /triage
RUN cmake -B build -DCMAKE_INSTALL_PREFIX=/usr -DTRIAGE_TESTS=OFF
RUN cmake --build build -j "$(nproc)"
RUN cpack --config build/CPackConfig.cmake -G DEB -B /packages

# CUDA's runtime image has NVRTC, the driver comes with --gpus; gcc is for the CPU's kernels.
FROM nvidia/cuda:13.0.1-runtime-ubuntu24.04
COPY --from=build /packages/*.deb /packages/
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev /packages/*.deb
CMD ["triage_tune", "--help"]
