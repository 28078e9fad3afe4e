//! Writes .github/workflows/ci.yml: builds the image, proves that the connector loses nothing, and pushes the image.

use super::{Subject, dockerfile, quoted};

const HEAD: &str = "\
# Builds the image, proves that the connector loses nothing, and pushes the image for tags like v1. GitHub reads this file only
# in the root of a repository: move it there if this directory is not the root.
#
# It needs, in the repository's settings:
# - the variable FLOW_SHIM_URL: where to download the flow-shim binary
# - the secret CONNECTOR_CONFIG: a config of the connector for the proof, as JSON
name: ci
on:
  push:
    branches: [main]
    tags: [\"v*\"]
  pull_request:
permissions:
  contents: read
  packages: write
jobs:
  image:
    runs-on: ubuntu-24.04
    timeout-minutes: 60
    env:
";

pub fn text(subject: &Subject) -> String {
    let image = subject.image_name();
    let file = quoted(&subject.path_of("Dockerfile"));
    let command = dockerfile::installed(subject);
    let command = if command.is_empty() { String::new() } else { format!(" -- {}", shell_words::join(command)) };
    format!(
        r#"{HEAD}      IMAGE: {image}:${{{{ github.sha }}}}
    steps:
      - uses: actions/checkout@v6
      - name: Get flow-shim
        env:
          FLOW_SHIM_URL: ${{{{ vars.FLOW_SHIM_URL }}}}
        run: curl -fsSL "$FLOW_SHIM_URL" -o flow-shim && chmod +x flow-shim
      - name: Build the image
        run: docker build --platform linux/amd64 -t "$IMAGE" -f {file} .
      - name: Prove that the connector loses nothing
        # Forks have no secrets.
        if: github.event_name == 'push'
        env:
          CONNECTOR_CONFIG: ${{{{ secrets.CONNECTOR_CONFIG }}}}
        run: |
          printf '%s' "$CONNECTOR_CONFIG" | docker run --rm -i --entrypoint /usr/local/bin/flow-shim "$IMAGE" \
            prove --shim . --config - --kills 2 --limit 1000{command}
      - name: Push the image
        if: startsWith(github.ref, 'refs/tags/v')
        env:
          GITHUB_TOKEN: ${{{{ secrets.GITHUB_TOKEN }}}}
        run: |
          name=$(echo "ghcr.io/$GITHUB_REPOSITORY_OWNER/{image}:$GITHUB_REF_NAME" | tr '[:upper:]' '[:lower:]')
          echo "$GITHUB_TOKEN" | docker login ghcr.io -u "$GITHUB_ACTOR" --password-stdin
          docker tag "$IMAGE" "$name" && docker push "$name"
"#
    )
}
