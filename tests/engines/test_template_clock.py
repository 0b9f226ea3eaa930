from datetime import datetime

import pytest
from scripted_engine import make_chat

from espl_bench.engines.chat import HfChat
from espl_bench.engines.engine import TemplateChat
from espl_bench.engines.openai.engine import TextChat
from espl_bench.types import Message

FIRST, LATER = datetime(2026, 3, 7, 14, 5, 9), datetime(2027, 11, 30, 0, 0, 0)
ASKED = (Message("user", "dax ?"),)
LLAMA = """\
   {% if not date_string is defined %}
   {% if strftime_now is defined %}
   {% set date_string = strftime_now("%d %b %Y") %}
   {% else %}
   {% set date_string = "26 Jul 2024" %}
   {% endif %}
   {% endif %}
Today Date: {{ date_string }}
   {% for message in messages %}
   {{ message.content }}
   {% endfor %}
"""
GPT = '{%- macro head() -%}Current date: {{ strftime_now("%Y-%m-%d") }}{%- endmacro -%}{{ head() }}{{ messages[0].content }}'


def text(chat: HfChat, template: str) -> str:
    chat._tokenizer.chat_template = template
    return chat._text(ASKED, assistant_speaks=True)


def rendered(template: str, now: datetime) -> str:
    chat = make_chat()
    chat._tokenizer.chat_template = template
    return text(chat.dated(now), template)


@pytest.mark.parametrize("form", ["%d %b %Y", "%Y-%m-%d", "%A, %-d %B %y, %H:%M:%S", "100%% %j", "%D %T", "%Q", "", "a%%Y", "%%%Y", "'%p'"])
def test_it_formats_as_python_does(form: str):
    assert rendered('[{{ strftime_now("' + form + '") }}]', FIRST) == f"[{FIRST.strftime(form)}]"


@pytest.mark.parametrize(("template", "date"), [(LLAMA, "Today Date: 07 Mar 2026"), (GPT, "Current date: 2026-03-07")])
def test_a_template_that_reads_the_date_reads_the_run_s(template: str, date: str):
    assert date in rendered(template, FIRST)
    assert rendered(template, FIRST) == rendered(template, FIRST) != rendered(template, LATER)


@pytest.mark.parametrize("template", [LLAMA, GPT])
def test_nothing_but_the_date_changes(template: str):
    today = datetime.now()
    plain = text(make_chat(), template)
    assert plain in (rendered(template, today), rendered(template, datetime.now())), "midnight may pass between the two"


def test_a_template_without_a_date_renders_the_same_ids():
    chat = make_chat()
    assert chat.dated(FIRST).encode(ASKED) == chat.encode(ASKED)
    assert chat.dated(FIRST).template == chat.template


def test_a_chat_without_a_template_has_no_clock():
    assert isinstance(make_chat(), TemplateChat) and not isinstance(TextChat(), TemplateChat)
