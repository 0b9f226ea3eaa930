"""Calls in models' own forms: what their templates write is read back, and what tries to call and fails is no answer."""

import json

import pytest
from chat_models import MARKER, QWEN, Family, build_chat, make_chat
from hypothesis import given, settings
from hypothesis import strategies as st

from espl_bench.errors import ModelError
from espl_bench.tools.call_formats import FORMATS, MARKERS
from espl_bench.tools.calls import MAX_CALLS, read_calls
from espl_bench.tools.tool_spec import Parameter, ToolSpec

LOOK = ToolSpec(
    "look", "looks", (Parameter("query", "string", "q"), Parameter("n", "integer", "n"), Parameter("names", "list of strings", "l"))
)
TOOLS = [LOOK, ToolSpec("ping", "pings", ())]
ARGUMENTS = {"query": 'say "7", <b>', "n": 3, "names": ["a", "it's"]}
JSON = json.dumps(ARGUMENTS)
OBJECT = json.dumps({"name": "look", "arguments": ARGUMENTS})
ELEMENTS = (
    '<function=look>\n<parameter=query>\nsay "7", <b>\n</parameter>\n<parameter=n>\n3\n</parameter>\n'
    '<parameter=names>\n["a", "it\'s"]\n</parameter>\n</function>'
)
PYTHON = 'look(query=\'say "7", <b>\', n=3, names=["a", "it\'s"])'
INVOKED = (
    '<invoke name="look">\n<parameter name="query">say "7", <b></parameter>\n<parameter name="n">3</parameter>\n'
    '<parameter name="names">["a", "it\'s"]</parameter>\n</invoke>'
)
DSML = (
    INVOKED.replace("</", "</｜DSML｜")
    .replace("<i", "<｜DSML｜i")
    .replace("<p", "<｜DSML｜p")
    .replace('"query"', '"query" string="true"')
    .replace('"n"', '"n" string="false"')
)
WRITTEN = {
    "ours": f"<tool_call>{OBJECT}</tool_call>",
    "qwen3.5": f"<tool_call>\n{ELEMENTS}\n</tool_call>",
    "qwen coder": ELEMENTS,
    "llama 3.1 functions": f"<function=look>{JSON}</function>",
    "llama 3.1": json.dumps({"name": "look", "parameters": ARGUMENTS}),
    "llama 3 tag": "<|python_tag|>" + json.dumps({"name": "look", "parameters": ARGUMENTS}),
    "glm": (
        '<tool_call>look\n<arg_key>query</arg_key>\n<arg_value>say "7", <b></arg_value>\n<arg_key>n</arg_key>\n<arg_value>3</arg_value>\n'
        '<arg_key>names</arg_key>\n<arg_value>["a", "it\'s"]</arg_value>\n</tool_call>'
    ),
    "gemma": '<|tool_call>call:look{query:<|"|>say "7", <b><|"|>,n:3,names:[<|"|>a<|"|>,<|"|>it\'s<|"|>]}<tool_call|>',
    "lfm2": f"<|tool_call_start|>[{PYTHON}]<|tool_call_end|>",
    "pythonic": f"[{PYTHON}]",
    "pythonic, no list": PYTHON,
    "harmony": f"to=functions.look <|constrain|>json<|message|>{JSON}<|call|>",
    "harmony, decoded": f"commentary to=functions.look json{JSON}",
    "mistral v3": f"[TOOL_CALLS][{OBJECT}]",
    "mistral v3, decoded": f"[{OBJECT}]",
    "mistral v11": f"[TOOL_CALLS]look[ARGS]{JSON}",
    "mistral v13": f"[TOOL_CALLS]look[CALL_ID]abcdefghi[ARGS]{JSON}",
    "mistral, decoded": f"look{JSON}",
    "kimi": (
        f"<|tool_calls_section_begin|><|tool_call_begin|>functions.look:0<|tool_call_argument_begin|>{JSON}<|tool_call_end|>"
        "<|tool_calls_section_end|>"
    ),
    "command": "<|START_ACTION|>[" + json.dumps({"tool_call_id": "0", "tool_name": "look", "parameters": ARGUMENTS}) + "]<|END_ACTION|>",
    "phi4": f"<|tool_call|>[{OBJECT}]<|/tool_call|>",
    "granite": f"<|tool_call|>[{OBJECT}]",
    "deepseek v3": f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>look\n```json\n{JSON}\n```<｜tool▁call▁end｜>",
    "deepseek v3.1": f"<｜tool▁call▁begin｜>look<｜tool▁sep｜>{JSON}<｜tool▁call▁end｜>",
    "minimax": f"<minimax:tool_call>\n{INVOKED}\n</minimax:tool_call>",
    "deepseek v3.2": f"<｜DSML｜function_calls>\n{DSML}\n</｜DSML｜function_calls>",
    "openai": json.dumps({"type": "function", "function": {"name": "look", "arguments": JSON}}),
}
SEVERAL = {
    "ours": WRITTEN["ours"] * 2,
    "qwen3.5": WRITTEN["qwen3.5"] + "\n" + WRITTEN["qwen3.5"],
    "gemma": WRITTEN["gemma"] * 2,
    "lfm2": f"<|tool_call_start|>[{PYTHON}, {PYTHON}]<|tool_call_end|>",
    "pythonic": f"[{PYTHON}, {PYTHON}]",
    "mistral v3": f"[TOOL_CALLS][{OBJECT}, {OBJECT}]",
    "mistral v11": WRITTEN["mistral v11"] * 2,
    "kimi": WRITTEN["kimi"] * 2,
    "phi4": f"<|tool_call|>[{OBJECT}, {OBJECT}]<|/tool_call|>",
    "deepseek": WRITTEN["deepseek v3.1"] * 2,
    "minimax": f"<minimax:tool_call>\n{INVOKED}\n{INVOKED}\n</minimax:tool_call>",
}


@pytest.mark.parametrize("form", WRITTEN)
def test_a_call_is_read_in_every_form(form: str):
    [request] = read_calls(WRITTEN[form], TOOLS).requests
    assert (request.problem, request.arguments) == (None, ARGUMENTS)


@pytest.mark.parametrize("form", SEVERAL)
def test_parallel_calls_are_read_in_their_order(form: str):
    requests = read_calls(SEVERAL[form], TOOLS).requests
    assert [(request.problem, request.arguments) for request in requests] == [(None, ARGUMENTS)] * 2


@pytest.mark.parametrize("form", WRITTEN)
def test_a_call_that_breaks_off_is_a_failed_call_and_no_answer(form: str):
    text = WRITTEN[form]
    for cut in (text[: len(text) * 2 // 3], text.replace("look", "lok")):
        if "lok" in cut and form in ("llama 3.1", "pythonic", "pythonic, no list", "mistral v3, decoded", "mistral, decoded", "openai"):
            continue  # without a marker, only the name of a tool tells a call from an answer
        requests = read_calls(cut, TOOLS).requests
        assert requests and all(request.call is None and request.problem for request in requests), cut


@pytest.mark.parametrize("form", [form.opening for form in FORMATS])
def test_a_marker_alone_is_a_failed_call(form: str):
    for text in (form, f"I call {form}look now", f"{form}{form}"):
        requests = read_calls(text, TOOLS).requests
        assert requests and all(request.call is None for request in requests)


@pytest.mark.parametrize("text", ["look at [this]", "[1, 2]", "f(x) = 3", "[f(x=1)]", '{"answer": "look"}', "x{1}", "a [TOOL] b", "ping!"])
def test_an_answer_is_not_taken_for_a_call(text: str):
    assert read_calls(text, TOOLS).requests == ()


def test_arguments_without_their_kind_are_read_by_the_tools():
    text = WRITTEN["glm"].replace('say "7", <b>', "7").replace(">3<", '>"3"<')
    [request] = read_calls(text, TOOLS).requests
    assert "'n' of look must be a integer" in (request.problem or "")
    [request] = read_calls(text.replace('"3"', "3"), TOOLS).requests
    assert request.arguments["query"] == "7"


def test_nothing_in_a_call_is_evaluated():
    for argument in ("__import__('os').getcwd()", "[x for x in 'ab']", "lambda: 1", "f'{1}'", "1 + 1", "b''", "..."):
        [request] = read_calls(f"[look(query={argument}, n=1, names=[])]", TOOLS).requests
        assert request.call is None


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.lists(st.sampled_from([*sorted(MARKERS), *'{}"[]()=\\\n3', "look", JSON]), max_size=12).map("".join))
def test_any_text_is_read(text: str):
    reading = read_calls(text, TOOLS)
    assert len(reading.requests) <= MAX_CALLS and all((request.call is None) != (request.problem is None) for request in reading.requests)


# In the template of a model


def template(call: str, reply: str = "{{ m.content }}") -> str:
    """ChatML with tools, whose calls are worded so."""
    return (
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
        f"{{% if m.role == 'tool' %}}{reply}{{% else %}}{{{{ m.content }}}}{{% endif %}}"
        f"{{% for call in m.tool_calls or [] %}}{{% set f = call.function %}}{call}{{% endfor %}}<|im_end|>\n{{% endfor %}}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


MISTRAL = "[TOOL_CALLS]{{ f.name }}[ARGS]{{ f.arguments | tojson }}"


@pytest.mark.parametrize("special", [True, False])
def test_a_template_whose_calls_are_read_is_taken_whether_or_not_its_markers_are_special(special: bool):
    markers = ("[TOOL_CALLS]", "[ARGS]") if special else ()
    chat = build_chat("own", Family(None, (*QWEN.special[:2], *markers, "<|im_end|>")), template(MISTRAL))
    chat.with_tools(TOOLS)  # an engine decodes with its own chat, which knows no tools
    assert chat.decode(chat._ids(f"[TOOL_CALLS]look[ARGS]{JSON}<|im_end|>")) == f"[TOOL_CALLS]look[ARGS]{JSON}"


@pytest.mark.parametrize(
    ("opened", "call"),
    [
        ("<think>\n</think>", "<tool_call>\n{{ {'name': f.name, 'arguments': f.arguments} | tojson }}\n</tool_call>"),
        ("<|channel>thought\n<channel|>", "<|tool_call>call:{{ f.name }}{{ f.arguments | tojson }}<tool_call|>"),
        ("<|START_THINKING|>", "<|START_ACTION|>[{{ {'tool_name': f.name, 'parameters': f.arguments} | tojson }}]<|END_ACTION|>"),
        ("[THINK]", MISTRAL),
    ],
    ids=["QwQ", "Gemma 4", "Command-A", "Mistral"],
)
@pytest.mark.parametrize("special", [True, False])
def test_a_call_is_read_that_begins_like_the_thoughts_that_a_prompt_opens(opened: str, call: str, special: bool):
    markers = MARKER.findall(opened + call) if special else []
    written = template(call).replace("assistant\n{% endif %}", f"assistant\n{opened}{{% endif %}}")
    build_chat("own", Family(None, (*QWEN.special[:2], *dict.fromkeys(markers), "<|im_end|>")), written).with_tools(TOOLS)


@pytest.mark.parametrize(
    ("call", "reply", "message"),
    [
        ("<call>{{ f.name }}: {{ f.arguments }}</call>", "{{ m.content }}", "in a form that is not read here"),
        ("", "{{ m.content }}", "in a form that is not read here"),
        ("<tool_call>{{ f.name }}</tool_call>", "{{ m.content }}", "in a form that is not read here"),
        (MISTRAL, "done", "does not show the reply of a tool"),
    ],
)
def test_a_template_whose_calls_are_not_read_is_one_line(call: str, reply: str, message: str):
    with pytest.raises(ModelError, match=f"{message}; use --tool-format text$"):
        build_chat("own", QWEN, template(call, reply)).with_tools(TOOLS)


@pytest.mark.parametrize("name", ["qwen25", "qwen3", "llama31", "mistral"])
def test_the_families_are_read_back(name: str):
    make_chat(name).with_tools(TOOLS)
