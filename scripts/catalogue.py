#!/usr/bin/env python3
"""Writes the model catalogue, control-plane/data/catalogue.json, from price tables that the registries carry.

Facts alone are taken: names, token limits and prices. Nothing that is downloaded is run: the tables are read as text.

  scripts/catalogue.py            download the pinned packages and write the catalogue and its notes
  scripts/catalogue.py --check    check the committed catalogue, without the network

Prices stay decimal from the source to the file: nano-dollars (1e-9 USD) for a million tokens, and for one web search.
In the file a price that a source does not give is left out, and these rules hold, in this order:

  cache_read, cache_write_5m   absent: as input. Cached tokens are input tokens, so without a price of their own they
                               cost what input costs, never nothing; a source's 0 says that nothing is added to that.
  cache_write_1h               absent: as cache_write_5m.
  web_search                   absent: 0.

`derived` names the fields of a row that no source gives and that a published rule of the vendor does: Anthropic's
one-hour cache write is twice the input price wherever its five-minute one is 1.25 times the input price.
What cannot be said in this form is listed in control-plane/data/catalogue.notes.txt, never dropped in silence.
"""

import argparse
import ast
import collections
import datetime
import decimal
import itertools
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

# The packages, pinned: a new version is a reviewed change of the data.
GENAI_PRICES = ("genai-prices", "0.2.3")
LITELLM = ("litellm", "1.109.1")

ROOT = pathlib.Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "control-plane" / "data" / "catalogue.json"
NOTES = ROOT / "control-plane" / "data" / "catalogue.notes.txt"
FORMAT = 1

NANO = 10**9
# Bounds that a fact must keep, so that a slip of a decimal point is noticed. Equal to those of control-plane/src/models.
PRICE_MAX = 10_000 * NANO
TOKENS_MAX = 100_000_000
NAME_LENGTH_MAX = 200
ALIASES_MAX = 200
MODELS_MIN = 1_000
VENDORS_MIN = 20
# Regular expressions are expanded into patterns, at most this many each.
EXPANSIONS_MAX = 24

# Which of genai-prices' units are ours. Everything else is listed in the notes.
RATES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_5m_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
}
RATE_ORDER = ["input", "output", "cache_read", "cache_write_5m", "cache_write_1h"]

# How LiteLLM spells the vendors. Those that genai-prices knows get their limits, and the models that it lacks, from here;
# the others are taken whole. Resellers that only pass on other vendors' names are not taken.
LITELLM_VENDORS = {
    "anthropic": "anthropic", "openai": "openai", "text-completion-openai": "openai", "azure": "azure",
    "azure_text": "azure", "azure_ai": "azure-foundry", "bedrock": "aws", "bedrock_converse": "aws",
    "bedrock_mantle": "aws", "amazon_nova": "amazon-nova", "gemini": "google", "mistral": "mistral",
    "codestral": "mistral", "deepseek": "deepseek", "xai": "x-ai", "groq": "groq", "together_ai": "together",
    "fireworks_ai": "fireworks", "perplexity": "perplexity", "cohere": "cohere", "cohere_chat": "cohere",
    "moonshot": "moonshotai", "minimax": "minimax", "zai": "zai", "bigmodel": "zhipuai", "novita": "novita",
    "cerebras": "cerebras", "cloudflare": "cloudflare", "databricks": "databricks", "baseten": "baseten",
    "github_copilot": "github-copilot", "voyage": "voyageai", "ovhcloud": "ovhcloud", "meta": "meta",
    "meta_llama": "meta", "vertex_ai": "vertex", "vertex_ai-language-models": "vertex",
    "vertex_ai-anthropic_models": "vertex", "vertex_ai-mistral_models": "vertex", "vertex_ai-llama_models": "vertex",
    "vertex_ai-deepseek_models": "vertex", "vertex_ai-qwen_models": "vertex", "vertex_ai-zai_models": "vertex",
    "vertex_ai-openai_models": "vertex", "vertex_ai-minimax_models": "vertex", "vertex_ai-moonshot_models": "vertex",
    "vertex_ai-ai21_models": "vertex", "deepinfra": "deepinfra", "nebius": "nebius", "dashscope": "dashscope",
    "vercel_ai_gateway": "vercel", "oci": "oci", "watsonx": "watsonx", "snowflake": "snowflake", "wandb": "wandb",
    "sambanova": "sambanova", "hyperbolic": "hyperbolic", "nscale": "nscale", "lambda_ai": "lambda", "ai21": "ai21",
    "volcengine": "volcengine", "scaleway": "scaleway", "replicate": "replicate", "friendliai": "friendliai",
    "tencent": "tencent", "nvidia_nim": "nvidia",
}  # fmt: skip
# What Claude Code asks for today; a catalogue without one of these is not written.
CLAUDE_CODE_MODELS = [
    "claude-opus-5-5", "claude-opus-5", "claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5",
    "claude-opus-4-1", "claude-sonnet-5-5", "claude-sonnet-5", "claude-sonnet-4-6", "claude-sonnet-4-5",
    "claude-haiku-5-5", "claude-haiku-4-5", "claude-fable-5-2",
]  # fmt: skip


class Stop(Exception):
    """A catalogue that must not be written, or a file that is not one."""


# --- reading the sources ---------------------------------------------------------------------------------------------


def download(package, into):
    """The pinned wheel, opened."""
    name, version = package
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    command += ["--only-binary", ":all:", "--dest", str(into), f"{name}=={version}"]
    subprocess.run(command, check=True)
    (wheel,) = into.glob(f"{name.replace('-', '_')}-{version}-*.whl")
    return zipfile.ZipFile(wheel)


def literal(node):
    """The value that a node of genai-prices' table stands for; its constructors become dictionaries."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List):
        return [literal(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {literal(key): literal(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        if name == "Decimal":
            return decimal.Decimal(node.args[0].value)
        if name == "date":
            return datetime.date(*(literal(argument) for argument in node.args))
        if name in ("time", "timedelta", "timezone"):
            return name
        return {"is": name, **{keyword.arg: literal(keyword.value) for keyword in node.keywords}}
    if isinstance(node, ast.Attribute):
        return node.attr
    raise Stop(f"genai-prices' table has a form that this script does not know: {ast.dump(node)[:200]}")


def genai_providers(wheel):
    tree = ast.parse(wheel.read("genai_prices/data.py").decode())
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign) and statement.target.id == "providers":
            return literal(statement.value)
    raise Stop("genai-prices has no table of providers")


def litellm_table(wheel):
    """Vendor -> lower-case model name -> row, numbers as decimals."""
    text = wheel.read("litellm/model_prices_and_context_window_backup.json").decode()
    table = collections.defaultdict(dict)
    for key, row in json.loads(text, parse_float=decimal.Decimal).items():
        provider = row.get("litellm_provider")
        vendor = LITELLM_VENDORS.get(provider)
        if vendor is None or row.get("mode") not in ("chat", "completion", "responses", "embedding", None):
            continue
        name = key
        prefixes = [f"{provider}/", f"{provider.split('-')[0]}/", f"{provider.split('_')[0]}/"]
        for prefix in [*prefixes, "accounts/fireworks/models/"]:
            name = name.removeprefix(prefix)
        # The same model under a second key: the first one stands.
        table[vendor].setdefault(name.lower(), row | {"name": name})
    return table


# --- prices ----------------------------------------------------------------------------------------------------------


def nano(dollars, divisor=1):
    """Dollars as whole nano-dollars; an amount that is no whole number of them is rounded up."""
    exact = decimal.Decimal(dollars) * NANO / divisor
    return int(exact.to_integral_value(rounding=decimal.ROUND_CEILING))


def standing_price(prices, date, where, notes):
    """The price that holds on that date; a price for hours of the day is never taken, so the ordinary one stands."""
    if isinstance(prices, dict):
        return prices
    standing = prices[0]["prices"]
    for row in prices:
        constraint = row.get("constraint")
        if constraint is None:
            standing = row["prices"]
        elif constraint["is"] == "StartDateConstraint":
            if constraint["start_date"] <= date:
                standing = row["prices"]
            else:
                notes["a price that begins later"].append(f"{where} from {constraint['start_date']}")
        else:
            notes["a price for hours of the day: the ordinary price stands"].append(where)
    return standing


def rows_of_price(source, where, notes):
    """Our price of one of genai-prices', or None where it has neither input nor output price."""
    price, tiers, other = {}, {}, []
    for unit, value in source.items():
        if unit == "is" or value is None:
            continue
        if unit == "web_searches_kcount" and not isinstance(value, dict):
            price["web_search"] = nano(value, 1_000)
            continue
        name = RATES.get(unit)
        if name is None:
            other.append(unit)
            continue
        if isinstance(value, dict):
            price[name] = nano(value["base"])
            for tier in value["tiers"]:
                tiers.setdefault(tier["start"], {})[name] = nano(tier["price"])
        else:
            price[name] = nano(value)
    if other:
        notes["priced by further units that have no counter here"].append(f"{where}: {', '.join(sorted(other))}")
    if "input" not in price and "output" not in price:
        return None
    # Embeddings have no output.
    price.setdefault("input", 0)
    price.setdefault("output", 0)
    if tiers:
        price["long_context"] = long_context(tiers, price, where, notes)
    return without_free_caches(price)


def long_context(tiers, base, where, notes):
    """One tier. Of several, the lowest threshold with the dearest rates: never charged too little."""
    if len(tiers) > 1:
        notes["several long-context tiers: the first threshold stands, with the dearest rates"].append(
            f"{where}: {sorted(tiers)}"
        )
    rates = {name: base[name] for name in RATE_ORDER if name in base}
    for tier in tiers.values():
        for name, amount in tier.items():
            rates[name] = max(rates[name], amount)
    return {"threshold": min(tiers), **{name: rates[name] for name in RATE_ORDER if name in rates}}


def without_free_caches(price):
    """The price without cache rates of 0 where input costs something."""
    if "long_context" in price:
        price = price | {"long_context": without_free_caches(price["long_context"])}
    free = [name for name in RATE_ORDER if name.startswith("cache") and price.get(name) == 0 and price["input"] > 0]
    return {name: value for name, value in price.items() if name not in free}


def derive_claude(model, price):
    """Fills in Anthropic's one-hour cache write where its published rule applies; the names of what was derived."""
    if "claude" not in model.lower():
        return []
    derived = []
    for rates, path in ((price, ""), (price.get("long_context", {}), "long_context.")):
        five_minutes, base = rates.get("cache_write_5m"), rates.get("input")
        if "cache_write_1h" in rates or not five_minutes or five_minutes * 4 != base * 5:
            continue
        rates["cache_write_1h"] = base * 2
        derived.append(f"{path}cache_write_1h")
    return derived


def litellm_price(row, where="", notes=None):
    """The price of one of LiteLLM's rows; None where it is not priced by tokens."""
    million = decimal.Decimal(1_000_000)
    fields = {
        "input": "input_cost_per_token",
        "output": "output_cost_per_token",
        "cache_read": "cache_read_input_token_cost",
        "cache_write_5m": "cache_creation_input_token_cost",
        "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    }
    if row.get("input_cost_per_token") is None or row.get("output_cost_per_token") is None:
        return None
    price = {ours: nano(row[theirs] * million) for ours, theirs in fields.items() if row.get(theirs) is not None}
    thresholds = {
        int(match[1]) * 1_000
        for key in row
        if (match := re.fullmatch(r"input_cost_per_token_above_(\d+)k_tokens", key))
    }
    if thresholds:
        threshold = min(thresholds)
        if len(thresholds) > 1 and notes is not None:
            notes["left out: several long-context tiers"].append(f"{where}: {sorted(thresholds)}")
            return None
        suffix = f"_above_{threshold // 1_000}k_tokens"
        long = {
            ours: nano(row[theirs + suffix] * million)
            for ours, theirs in fields.items()
            if row.get(theirs + suffix) is not None
        }
        price["long_context"] = {"threshold": threshold} | price | long
    if (row.get("tiered_pricing") or "input_cost_per_request" in row) and notes is not None:
        notes["left out: priced in a way that has no form here"].append(where)
        return None
    search = row.get("search_context_cost_per_query", {}).get("search_context_size_medium")
    if search is not None:
        price["web_search"] = nano(search)
    return without_free_caches(price)


# --- names -----------------------------------------------------------------------------------------------------------


def patterns_of(clause, where, notes):
    """The patterns that stand for a clause of genai-prices; what none can stand for goes to the notes."""
    kind = clause["is"]
    if kind == "ClauseEquals":
        return [clause["equals"]]
    if kind == "ClauseStartsWith":
        return [clause["starts_with"] + "*"]
    if kind == "ClauseEndsWith":
        return ["*" + clause["ends_with"]]
    if kind == "ClauseContains":
        return ["*" + clause["contains"] + "*"]
    if kind == "ClauseOr":
        return [pattern for part in clause["or_"] for pattern in patterns_of(part, where, notes)]
    if kind == "ClauseRegex":
        found = patterns_of_regex(clause["regex"])
        if found is None:
            notes["a name rule that no pattern can express"].append(f"{where}: {clause['regex']}")
        return found or []
    if kind == "ClauseAnd":
        regexes = [part for part in clause["and_"] if part["is"] == "ClauseRegex"]
        others = [part for part in clause["and_"] if part["is"] != "ClauseRegex"]
        if len(others) == 1 and all(part["regex"].startswith("^(?!") for part in regexes):
            # Rows of their own stand for the names that a look-ahead excludes; the longer pattern decides.
            notes["an exclusion left to the rows of the excluded names"].append(f"{where}: {regexes[0]['regex']}")
            return patterns_of(others[0], where, notes)
    notes["a name rule that no pattern can express"].append(f"{where}: {clause}")
    return []


def patterns_of_regex(regex):
    """Patterns for `^literal` with digits, small sets and optional groups; None for anything else.

    Eight digits, and four-two-two, are dates: `20*` stands for them, the century fixed.
    """
    if not regex.startswith("^") or "(?" in regex:
        return None
    text = regex[1:]
    open_ended = not text.endswith("$")
    text = text.removesuffix("$")
    for date in (r"\d{8}", r"\d{4}-\d{2}-\d{2}"):
        text = text.replace(date, "\0")
    parts = []
    while text:
        if match := re.match(r"\(([^()|]*)\)\?", text):
            parts.append([match[1], ""])
        elif match := re.match(r"\\d(?!\{)", text):
            parts.append([str(digit) for digit in range(10)])
        elif match := re.match(r"\[(-?[^\]^\\-]+)\]", text):
            parts.append(list(match[1]))
        elif match := re.match(r"\\([^\w])", text):
            parts.append([match[1]])
        elif match := re.match(r"[\w\-@=/\0]", text):
            parts.append([match[0]])
        else:
            return None
        text = text[match.end():]
    joined = ["".join(choice) for choice in itertools.islice(itertools.product(*parts), EXPANSIONS_MAX + 1)]
    if len(joined) > EXPANSIONS_MAX:
        return None
    tail = "*" if open_ended else ""
    return [re.sub(r"\*+", "*", text.replace("\\", "").replace("\0", "20*") + tail) for text in joined]


def clause_matches(clause, name):
    """Whether genai-prices' rule means that name, by its own semantics."""
    kind, name = clause["is"], name.lower()
    if kind == "ClauseEquals":
        return name == clause["equals"].lower()
    if kind == "ClauseStartsWith":
        return name.startswith(clause["starts_with"].lower())
    if kind == "ClauseEndsWith":
        return name.endswith(clause["ends_with"].lower())
    if kind == "ClauseContains":
        return clause["contains"].lower() in name
    if kind == "ClauseRegex":
        return re.search(clause["regex"], name) is not None
    if kind == "ClauseOr":
        return any(clause_matches(part, name) for part in clause["or_"])
    return all(clause_matches(part, name) for part in clause["and_"])


def pattern_matches(pattern, name):
    """As tollgate-policy's Pattern::matches."""
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), name, re.DOTALL) is not None


def find(models, name):
    """As tollgate-policy's Catalogue::find, among the rows of one vendor."""
    exact = [row for row in models if row["model"] == name]
    if exact:
        return exact[0]
    hits = [(len(alias), row["model"], row) for row in models for alias in row["aliases"] if pattern_matches(alias, name)]
    return min(hits, key=lambda hit: (-hit[0], hit[1]))[2] if hits else None


# --- building --------------------------------------------------------------------------------------------------------


def build(date):
    notes = collections.defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="catalogue-") as directory:
        folder = pathlib.Path(directory)
        providers = genai_providers(download(GENAI_PRICES, folder))
        second = litellm_table(download(LITELLM, folder))
    models = []
    for provider in providers:
        vendor, ours = provider["id"], []
        for source in provider["models"]:
            row = model_row(vendor, source, date, notes)
            if row is not None:
                ours.append(row)
        add_limits(vendor, provider, ours, second[vendor], notes)
        complete(vendor, ours, second[vendor], notes)
        compare(vendor, ours, second[vendor], notes)
        probe(vendor, provider, ours, second[vendor], notes)
        models += ours
    for vendor in sorted(set(second) - {provider["id"] for provider in providers}):
        ours = []
        complete(vendor, ours, second[vendor], notes)
        models += ours
    models.sort(key=lambda row: (row["vendor"], row["model"]))
    header = {
        "format": FORMAT,
        "version": next_version(date, models),
        "as_of": date.isoformat(),
        "unit": "nano-dollars for a million tokens; web_search: nano-dollars for one",
        "sources": {
            "models, names, aliases, context_window, prices": "PyPI {} {} (MIT)".format(*GENAI_PRICES),
            "max_output, a context_window that the former lacks, rows with source litellm": "PyPI {} {} (MIT)".format(*LITELLM),
        },
    }
    return header, models, notes


def next_version(date, models):
    """YYYYMMDD and two digits: a control plane imports a catalogue whose version is higher than that of its database."""
    first = int(date.strftime("%Y%m%d")) * 100 + 1
    if not CATALOGUE.exists():
        return first
    before = json.loads(CATALOGUE.read_text())
    if before.get("models") == models and before.get("as_of") == date.isoformat():
        return before["version"]
    return max(first, before["version"] + 1)


def model_row(vendor, source, date, notes):
    name, where = source["id"], f"{vendor}/{source['id']}"
    price = rows_of_price(standing_price(source["prices"], date, where, notes), where, notes)
    if price is None:
        notes["left out: not priced by tokens"].append(where)
        return None
    for variant in source.get("price_variants") or []:
        condition = ", ".join(f"{key}={value}" for key, value in variant["when"].items())
        notes["a price for a way of processing: the standard price stands"].append(f"{where}: {condition}")
    aliases = [alias for alias in dict.fromkeys(patterns_of(source["match"], where, notes)) if alias != name]
    derived = derive_claude(name, price)
    row = {
        "vendor": vendor,
        "model": name,
        "display_name": " ".join((source.get("name") or name).split()),
        "aliases": aliases,
        "context_window": source.get("context_window") or 0,
        "max_output": 0,
        "price": ordered(price),
    }
    return row | ({"derived": derived} if derived else {})


def add_limits(vendor, provider, models, second, notes):
    """Takes the maximum output, and a context window that the first source lacks, from the second source."""
    clauses = {source["id"]: source["match"] for source in provider["models"]}
    for row in models:
        exact = second.get(row["model"].lower())
        named = [exact] if exact else [r for n, r in second.items() if clause_matches(clauses[row["model"]], n)]
        for field, theirs in (("max_output", "max_output_tokens"), ("context_window", "max_input_tokens")):
            known = {limit(r, theirs) for r in named} - {0}
            if row[field] or not known:
                continue
            if len(known) > 1:
                notes[f"several values of {field}: the largest stands"].append(
                    f"{vendor}/{row['model']}: {sorted(known)}"
                )
            row[field] = max(known)


def complete(vendor, models, second, notes):
    """Adds the models that the second source alone has, under its exact names."""
    for source in sorted(second.values(), key=lambda source: source["name"]):
        name, where = source["name"], f"{vendor}/{source['name']}"
        if find(models, name) is not None:
            continue
        price = litellm_price(source, where, notes)
        if price is None:
            notes["left out: not priced by tokens"].append(where)
            continue
        if price["input"] == 0 and price["output"] == 0:
            # This source writes 0 for what it does not know, and unknown is not free.
            notes["left out: litellm prices it at 0"].append(where)
            continue
        if not re.fullmatch(r"[!-)+-~]{1,%d}" % NAME_LENGTH_MAX, name):
            notes["left out: not a name"].append(where)
            continue
        derived = derive_claude(name, price)
        row = {
            "vendor": vendor,
            "model": name,
            "display_name": name,
            "aliases": [f"{name}-20*"] if vendor == "anthropic" else [],
            "context_window": limit(source, "max_input_tokens"),
            "max_output": limit(source, "max_output_tokens"),
            "price": ordered(price),
            "source": "litellm",
        }
        models.append(row | ({"derived": derived} if derived else {}))


def limit(source, field):
    """A limit in tokens; 0 where the source has none, or none that can be one."""
    value = source.get(field)
    return value if type(value) is int and 0 < value <= TOKENS_MAX else 0


def ordered(price):
    """The price with its fields in one order, so that a change of the file is a change of a fact."""
    order = ["threshold", *RATE_ORDER, "web_search", "long_context"]
    return {
        name: ordered(price[name]) if name == "long_context" else price[name] for name in order if name in price
    }


def compare(vendor, models, second, notes):
    """Lists where the two sources disagree on a price; the first one stands, except that Claude's must agree."""
    for row in models:
        theirs = litellm_price(second.get(row["model"].lower(), {}))
        if theirs is None or row.get("source") == "litellm":
            continue
        ours, theirs = flat(row["price"]), flat(theirs)
        differing = [f"{name} {ours[name]} / {theirs[name]}" for name in ours if theirs.get(name, ours[name]) != ours[name]]
        if not differing:
            continue
        text = f"{vendor}/{row['model']}: {'; '.join(differing)}"
        notes["the sources disagree: genai-prices / litellm"].append(text)
        if vendor == "anthropic":
            raise Stop(f"the sources disagree on a Claude model: {text}")


def flat(price):
    long = {f"long_context.{name}": value for name, value in price.get("long_context", {}).items()}
    return {name: value for name, value in price.items() if name != "long_context"} | long


def probe(vendor, provider, models, second, notes):
    """Asks both ways for every known name: genai-prices' rules in their order, and ours. What differs in price is listed."""
    rows = {row["model"]: row for row in models}
    names = {row["name"] for row in second.values()} | set(rows)
    for source in provider["models"]:
        names |= {pattern.replace("*", "") for pattern in patterns_of(source["match"], "", collections.defaultdict(list))}
    for name in sorted(filter(None, names)):
        theirs = next((s["id"] for s in provider["models"] if clause_matches(s["match"], name)), None)
        ours = find(models, name)
        expected = rows.get(theirs)
        if expected is None or (ours is not None and ours["price"] == expected["price"]):
            continue
        found = ours["model"] if ours else "nothing"
        notes["a name that our patterns resolve to another price"].append(f"{vendor}/{name}: {theirs}, ours {found}")


# --- the file --------------------------------------------------------------------------------------------------------


def write(header, models, notes):
    lines = [json.dumps(key) + ": " + json.dumps(value, ensure_ascii=True) for key, value in header.items()]
    rows = ",\n".join(json.dumps(row, ensure_ascii=True, separators=(",", ":")) for row in models)
    CATALOGUE.parent.mkdir(parents=True, exist_ok=True)
    CATALOGUE.write_text("{\n" + ",\n".join(lines) + ',\n"models": [\n' + rows + "\n]}\n")
    text = [f"What scripts/catalogue.py could not say in the catalogue's form, or had to choose, as of {header['as_of']}.\n"]
    for title, entries in sorted(notes.items()):
        entries = sorted(set(entries))
        text.append(f"\n{title} ({len(entries)})\n" + "".join(f"  {entry}\n" for entry in entries))
    NOTES.write_text("".join(text))


def check(path):
    """Checks the committed file; all problems are reported together."""
    try:
        document = json.loads(path.read_text(), parse_float=refuse_float)
    except (OSError, ValueError) as problem:
        raise Stop(f"{path}: {problem}") from problem
    problems = []
    if document.get("format") != FORMAT:
        problems.append(f"format is {document.get('format')!r}, not {FORMAT}")
    as_of = datetime.date.fromisoformat(document["as_of"])
    if type(document.get("version")) is not int or document["version"] // 100 < int(as_of.strftime("%Y%m%d")):
        problems.append(f"the version {document.get('version')!r} is older than the date {as_of}")
    models = document["models"]
    seen, by_vendor = set(), collections.defaultdict(list)
    for row in models:
        problems += row_problems(row)
        key = (row["vendor"], row["model"])
        if key in seen:
            problems.append(f"{'/'.join(key)} stands twice")
        seen.add(key)
        by_vendor[row["vendor"]].append(row)
    if [(r["vendor"], r["model"]) for r in models] != sorted((r["vendor"], r["model"]) for r in models):
        problems.append("the rows are not sorted")
    if len(models) < MODELS_MIN or len(by_vendor) < VENDORS_MIN:
        problems.append(f"{len(models)} models of {len(by_vendor)} vendors, at least {MODELS_MIN} of {VENDORS_MIN} needed")
    problems += duplicate_aliases(by_vendor)
    problems += claude_problems(by_vendor["anthropic"])
    if problems:
        raise Stop("\n".join(problems))
    priced = sum(1 for row in models if row.get("price"))
    limited = sum(1 for row in models if row["max_output"])
    print(
        f"{path.name}: {len(models)} models of {len(by_vendor)} vendors, {priced} priced, "
        f"{sum(1 for row in models if row['context_window'])} with a context window, {limited} with a maximum output, "
        f"as of {document['as_of']}"
    )


def refuse_float(text):
    raise ValueError(f"{text} is not an integer")


def row_problems(row):
    where = f"{row.get('vendor')}/{row.get('model')}"
    required = {"vendor", "model", "display_name", "aliases", "context_window", "max_output", "price"}
    if not required <= set(row) <= required | {"derived", "source"}:
        return [f"{where}: has other fields than a row"]
    problems = []
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", row["vendor"]):
        problems.append(f"{where}: the vendor is not a name")
    for text in [row["model"], *row["aliases"]]:
        if not re.fullmatch(r"[!-~]{1,%d}" % NAME_LENGTH_MAX, text):
            problems.append(f"{where}: {text!r} is not a pattern")
    if "*" in row["model"]:
        problems.append(f"{where}: a model's name has no '*'")
    if len(row["aliases"]) > ALIASES_MAX or len(set(row["aliases"])) != len(row["aliases"]):
        problems.append(f"{where}: too many aliases, or one twice")
    if not 1 <= len(row["display_name"]) <= 200 or not row["display_name"].isprintable():
        problems.append(f"{where}: the display name is empty or too long")
    for field in ("context_window", "max_output"):
        if type(row[field]) is not int or not 0 <= row[field] <= TOKENS_MAX:
            problems.append(f"{where}: {field} is {row[field]!r}")
    return problems + price_problems(where, row["price"])


def price_problems(where, price):
    if price is None:
        return []
    allowed, problems = set(RATE_ORDER), []
    if not {"input", "output"} <= set(price) <= allowed | {"web_search", "long_context"}:
        problems.append(f"{where}: the price has other fields")
    long = price.get("long_context")
    if long is not None and not {"threshold", "input", "output"} <= set(long) <= allowed | {"threshold"}:
        problems.append(f"{where}: the long-context tier has other fields")
    for name, amount in flat(price).items():
        high = TOKENS_MAX if name.endswith("threshold") else PRICE_MAX
        if type(amount) is not int or not 0 <= amount <= high:
            problems.append(f"{where}: {name} is {amount!r}")
        if "cache" in name and amount == 0 and price["input"] > 0:
            problems.append(f"{where}: {name} is free, and input is not")
    return problems


def duplicate_aliases(by_vendor):
    problems = []
    for vendor, models in by_vendor.items():
        owners = collections.defaultdict(list)
        for row in models:
            for alias in row["aliases"]:
                owners[alias].append(row["model"])
        problems += [f"{vendor}: {alias!r} means {names}" for alias, names in owners.items() if len(names) > 1]
    return problems


def claude_problems(models):
    """Claude models that are missing, or whose prices break what holds for all of them."""
    problems = []
    for name in CLAUDE_CODE_MODELS:
        for asked in (name, f"{name}-20300101"):
            row = find(models, asked)
            if row is None or row["model"] != name:
                problems.append(f"anthropic: {asked} means {row and row['model']}")
    for row in models:
        price = row["price"]
        if "cache_write_5m" not in price:
            continue
        if not price["cache_read"] < price["input"] < price["cache_write_5m"] < price["cache_write_1h"] < price["output"]:
            problems.append(f"anthropic/{row['model']}: the prices are not in order")
        if price["cache_write_1h"] != 2 * price["input"]:
            problems.append(f"anthropic/{row['model']}: the one-hour cache write is not twice the input")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="check the committed file, without the network")
    parser.add_argument("--date", type=datetime.date.fromisoformat, default=datetime.datetime.now(datetime.UTC).date())
    arguments = parser.parse_args()
    decimal.getcontext().prec = 60
    try:
        if not arguments.check:
            write(*build(arguments.date))
        check(CATALOGUE)
    except Stop as problem:
        sys.exit(f"catalogue: {problem}")


if __name__ == "__main__":
    main()
