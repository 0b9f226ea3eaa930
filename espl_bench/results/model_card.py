"""The model card of an exported run."""

import json
from collections.abc import Mapping

from espl_bench.leaderboard.board import build_board
from espl_bench.leaderboard.collect import collect
from espl_bench.leaderboard.render import to_markdown
from espl_bench.runs.run_dir import RunDir

WHOLE = """
## Use

`model/` is the base model with the adapter merged in; `adapter/` is the adapter alone. The score was measured with the messages of
`prompt.json`, the problem in place of `{{question}}`, at temperature {temperature:g} and top-p {top_p:g}:

```python
import json
from transformers import AutoModelForCausalLM, AutoTokenizer

prompt = json.load(open("prompt.json"))
messages = [{{**each, "content": each["content"].replace("{{question}}", QUESTION)}} for each in prompt["messages"]]
tokenizer, model = AutoTokenizer.from_pretrained("model"), AutoModelForCausalLM.from_pretrained("model")
ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
print(tokenizer.decode(model.generate(**ids, max_new_tokens={max_tokens})[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))
```

Merging moved no log-probability of a probe by more than {gap:.1g} nats. Weights are stored in the base model's dtype.
"""
PROMPT_ALONE = """
## Use

The weights are those of the base model, unchanged; what was learned is the prompt. The score was measured with the messages of
`prompt.json`, the problem in place of `{{question}}`, at temperature {temperature:g} and top-p {top_p:g}.
"""


def model_card(run: RunDir, gap: float | None) -> str:
    """Write the card in Markdown, with the front matter that hubs read. `gap` is that of the merged model; None without weights."""
    summary, config = run.summary(), run.config()
    front = {"library_name": "transformers", "base_model": summary.model, "tags": ["espl-bench", summary.method, summary.env]}
    use = (PROMPT_ALONE if gap is None else WHOLE).format(
        temperature=config.sampling.temperature, top_p=config.sampling.top_p, max_tokens=config.sampling.max_tokens, gap=gap
    )
    principles = "\n".join(f"{index}. {text}" for index, text in enumerate(summary.shown_prompt)) or "none"
    ledger = {name: value for name, value in summary.ledger.model_dump().items() if not name.endswith("_s")}
    parts = [
        f"---\n{_yaml(front)}---\n# {summary.run_id}",
        f"{summary.row} on {summary.environment}, from {summary.model}, seed {summary.seed}, {summary.steps} iterations: test "
        f"{100 * summary.score:.1f} % over {summary.n_items} items x {summary.k}.",
        f"## Result\n\n{to_markdown(build_board(collect([run.path]).entries))}",
        use.strip(),
        f"## Prompt\n\n{principles}",
        f"## Ledger\n\n{_rows('counted', ledger)}",
        f"## Data\n\nHashes of the items, by split:\n\n{_rows('split', summary.data_identity)}",
        "Made with espl-bench. `espl-bench verify RUN` re-grades every stored rollout of the run directory.\n",
    ]
    return "\n\n".join(parts)


def _yaml(record: Mapping[str, object]) -> str:
    """Write flat YAML: every value in JSON, which YAML includes."""
    return "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in record.items())


def _rows(head: str, record: Mapping[str, object]) -> str:
    cells = {name.replace("_", " "): f"{value:,}" if isinstance(value, int) else f"`{value}`" for name, value in record.items()}
    return "\n".join([f"| {head} | |", "| --- | ---: |", *(f"| {name} | {cell} |" for name, cell in cells.items())])
