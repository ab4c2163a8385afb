"""Every value that a template prints passes the one function that quotes, or cannot do harm."""

from __future__ import annotations

import re
from collections.abc import Iterator

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import nodes

from hpclaunch import paths
from hpclaunch.errors import UsageError
from hpclaunch.plan import make_plan
from hpclaunch.request import Request
from hpclaunch.shell import quote
from hpclaunch.sites.model import Site
from hpclaunch.templates import shipped_template
from tests.pure.hostile import EVIL, arguments
from tests.pure.plans import loaded
from tests.pure.sites import slurm_with

TEMPLATES = paths.shipped_dir("templates")
SAFE_BY_CONSTRUCTION = {
    "each of directives": "the scheduler quotes them as its own reader wants it (tests/schedulers)",
    "each of prologue": "lines of bash that the scheduler's module has quoted (tests/schedulers)",
    "each of exit_tells": "names of signals that stand in the scheduler's module",
    "each of before_modules": "a line of hpclaunch itself",
    "each of plan.setup": "bash that the profile's author wrote as bash; one line each",
    "each of plan.prologue": "bash that the profile's author wrote as bash; one line each",
    "each of plan.epilogue": "bash that the profile's author wrote as bash; one line each",
    "each of plan.steps.does": "`activation_of` has quoted what stands in it",
    "each of exports": "lines of hpclaunch itself",
    "inside": "`inside` quotes every word",
    "python": "a word by `site_word`",
    "plan.name": "letters, digits, '.', '_' and '-': make_plan refuses other names",
    "plan.block.ranks": "a number that the plan has counted",
    "number": "of an order: digits, `read_list` takes nothing else",
    "plan.site": "letters, digits, '.', '_' and '-': the model refuses other names",
}
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def printed(node: nodes.Node, loops: dict[str, str]) -> Iterator[str]:
    """A name for each expression that a template prints without quoting it."""
    if isinstance(node, nodes.For):
        assert isinstance(node.target, nodes.Name)
        loops = {**loops, node.target.name: spelled(node.iter, loops)}
    if isinstance(node, nodes.Output):
        for part in node.nodes:
            if not (isinstance(part, nodes.TemplateData) or is_quoted(part) or is_constant(part)):
                yield spelled(part, loops)
    for child in node.iter_child_nodes():
        yield from printed(child, loops)


def is_quoted(node: nodes.Expr) -> bool:
    return isinstance(node, nodes.Filter) and node.name == "quote"


def is_constant(node: nodes.Expr) -> bool:
    """A choice between texts of the template itself."""
    return isinstance(node, nodes.CondExpr) and all(
        isinstance(part, nodes.Const) for part in (node.expr1, node.expr2)
    )


def spelled(node: nodes.Node, loops: dict[str, str]) -> str:
    if isinstance(node, nodes.Name):
        return f"each of {loops[node.name]}" if node.name in loops else node.name
    if isinstance(node, nodes.Getattr):
        return f"{spelled(node.node, loops)}.{node.attr}"
    return repr(node)


def test_every_printed_value_is_quoted_or_safe_by_construction():
    environment = jinja2.Environment()
    found = {
        one
        for file in TEMPLATES.rglob("*.j2")
        for one in printed(environment.parse(file.read_text(encoding="utf-8")), {})
    }
    assert found == set(SAFE_BY_CONSTRUCTION)


@pytest.mark.parametrize(
    "text",
    [
        "{{ x }}",
        "{% for a in b %}{{ a.c }}{% endfor %}",
        "{{ x | upper }}",
        "{{ x | quote | upper }}",
    ],
)
def test_the_search_finds_what_is_not_quoted(text):
    assert len(list(printed(jinja2.Environment().parse(text), {}))) == 1


def test_the_filter_is_the_one_function_that_quotes():
    environment = shipped_template("session.sh.j2").environment
    assert environment.filters["quote"] is quote
    assert environment.undefined is jinja2.StrictUndefined


def test_no_template_switches_its_escape_off():
    for file in TEMPLATES.rglob("*.j2"):
        assert not re.search(r"{%-?\s*(raw|autoescape)|\|\s*safe\b", file.read_text())


def test_remote_scripts_are_no_templates():
    scripts = sorted((TEMPLATES / "remote").iterdir())
    assert [file.suffix for file in scripts] == [".sh"] * len(scripts) != []
    for file in scripts:
        assert not re.search(r"{{|{%|{#", file.read_text()), file.name


@given(name=arguments | st.sampled_from(EVIL))
def test_a_session_name_is_plain_or_refused(name):
    try:
        plan = make_plan(loaded(), Request(), name=name)
    except UsageError:
        assert not (PLAIN.fullmatch(name) and len(name) <= 41)
    else:
        assert PLAIN.fullmatch(plan.name) and len(plan.name) <= 41


@given(name=arguments | st.sampled_from(EVIL))
def test_a_site_name_is_plain_or_refused(name):
    try:
        site = Site.model_validate(slurm_with(name=name))
    except ValueError:
        assert not (PLAIN.fullmatch(name) and len(name) <= 32)
    else:
        assert PLAIN.fullmatch(site.name) and len(site.name) <= 32


@given(line=arguments)
def test_a_setup_line_is_one_line_or_refused(line):
    environments = {"default": {"setup": [line]}}
    try:
        Site.model_validate(slurm_with(environments=environments))
    except ValueError:
        return
    assert len(line.splitlines()) == 1
