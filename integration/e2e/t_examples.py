"""The config's JSON Schema, as an editor would use it: every example that we show fits it, what is wrong does not."""
import copy
import json
import re

import jsonschema
from case import ROOT
from registry import check, same, test

FENCE = re.compile(r"^```json\n(.*?)^```$", re.S | re.M)
HERE = re.compile(r"<<'END'\n(\{.*?)^END$", re.S | re.M)
PLAIN = {"jobs": {"files": {"source": "/srv", "destinations": ["nas"], "keep": {"daily": 7}}}, "destinations": {"nas": "/mnt/nas"}}


def shown() -> dict[str, dict]:
    """Configs of the documentation and of the examples, by where they stand. Parts of one are put where they belong."""
    found = {}
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text()
        for at, body in ((m.start(), m.group(1)) for m in (*HERE.finditer(text), *FENCE.finditer(text))):
            place = f"{page.name}:{text[:at].count(chr(10)) + 1}"
            if body.lstrip().startswith('"'):
                part = json.loads(f"{{{body}}}")
                job = {key: part.pop(key) for key in list(part) if key in ("dumps",)}
                found[place] = {**part, "jobs": {"j": {"destinations": ["/x"], **job}}}
                continue
            try:
                whole = json.loads(body)
            except ValueError:
                continue  # another system's, broken on purpose
            if "jobs" in whole:
                found[place] = whole
    for path in [ROOT / "container" / "offsite.json", *sorted((ROOT / "integration" / "replace" / "new").glob("*/*.json"))]:
        found[str(path.relative_to(ROOT))] = json.loads(path.read_text())
    return found


@test(local=True)
def examples_fit_the_schema(case):
    schema = case.run("config", "schema").document
    jsonschema.Draft202012Validator.check_schema(schema)
    fits = jsonschema.Draft202012Validator(schema)
    examples = shown()
    check(len(examples) >= 6 and any(place.startswith("jobs.md") for place in examples), f"too few examples were found: {list(examples)}")
    for place, config in examples.items():
        errors = [f"{list(error.path)}: {error.message[:300]}" for error in fits.iter_errors(config)]
        same(errors, [], f"the example at {place}")


@test(local=True)
def examples_that_are_wrong_do_not(case):
    """The schema and the program refuse the same."""
    fits = jsonschema.Draft202012Validator(case.run("config", "schema").document)
    check(fits.is_valid(PLAIN), "the plain one")

    def wrong(*path: str, value) -> dict:
        config = copy.deepcopy(PLAIN)
        at = config
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = value
        return config

    job = ("jobs", "files")
    for config in [wrong("job", value={}), wrong(*job, "keeep", value={}), wrong(*job, "keep", "hourly", value=1), wrong(*job, "keep", value=[7]),
                   wrong(*job, value=[]), wrong(*job, "missing", value="never"), wrong(*job, "options", value={"vwp": "ignored"}),
                   wrong(*job, "before", value=7), wrong("destinations", "nas", value={"path": "/x"}), wrong(*job, "dumps", value={"x": {}})]:
        check(not fits.is_valid(config), f"the schema takes {config}")
        (case.dir / "offsite.json").write_text(json.dumps(config))
        case.run("config", "check", code=2)
