"""The bill of materials of a target's binary, in CycloneDX: every crate in it, with licence and hash."""

import json
import tomllib

from field import HERE, run


def bill(triple: str) -> dict:
    """What `cargo tree` says is linked in, and Cargo.lock pins."""
    tree = ("cargo", "tree", "--locked", "--package", "dunlin", "--target", triple, "--edges", "normal,no-proc-macro")
    listed = run(*tree, "--prefix", "none", "--no-dedupe", "--format", "{p}|{l}", cwd=HERE)
    # "name v1.2.3 (/path)|MIT OR Apache-2.0"
    crates = {tuple(line.split("|")[0].split()[:2]): line.split("|")[1] for line in listed.splitlines() if line}
    locked = tomllib.loads((HERE / "Cargo.lock").read_text())["package"]
    hashes = {(p["name"], "v" + p["version"]): p.get("checksum") for p in locked}
    components = []
    for (name, version), licence in sorted(crates.items()):
        component = {"type": "library", "name": name, "version": version[1:]}
        if licence:
            component["licenses"] = [{"expression": licence.replace("/", " OR ")}]
        # Ours have none: they come with the commit.
        if checksum := hashes.get((name, version)):
            component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
            component["purl"] = f"pkg:cargo/{name}@{version[1:]}"
        components.append(component)
    own = next(component for component in components if component["name"] == "dunlin")
    components.remove(own)
    metadata = {"component": own | {"type": "application"}, "properties": [{"name": "target", "value": triple}]}
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": metadata, "components": components}


if __name__ == "__main__":
    import sys

    print(json.dumps(bill(sys.argv[1]), indent=1))
