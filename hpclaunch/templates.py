"""The templates of batch scripts: the shipped ones, and those by which a site fills their blocks.

A template of a site's own extends the shipped one and fills blocks that are offered. What the
laptop relies on (directives, the last word of the job, signals, the agent) stands outside of them
and cannot be replaced by accident. Such a template is part of a profile, which runs code on the
site anyway; on the laptop it can do nothing: it runs in Jinja's sandbox.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpclaunch import paths
from hpclaunch.errors import ProfileError
from hpclaunch.shell import quote

if TYPE_CHECKING:
    import jinja2

__all__ = ["OFFERED", "own_template", "render", "shipped_template"]

OFFERED = {
    "prologue": "lines before everything else; the profile's `scheduler.prologue`",
    "environment": "what makes the environment: modules, activation and `setup`",
    "wrapper": "words before the command that starts everything, with a blank at their end",
    "epilogue": "lines when all has ended, with exit code $1; the profile's `scheduler.epilogue`",
}
"""The blocks that a site may fill, and what stands there otherwise (``{{ super() }}``)."""


@functools.cache
def shipped_template(name: str) -> jinja2.Template:
    """A template that is shipped, by its name."""
    import jinja2

    return _environment(jinja2.Environment).get_template(name)


def own_template(path: str, extends: str) -> jinja2.Template:
    """A template of a site's own.

    Parameters
    ----------
    path : str
        Its file, on the laptop.
    extends : str
        The shipped template whose blocks it fills.

    Raises
    ------
    ProfileError
        If it cannot be read, is no template, extends nothing or another one, or fills a block that
        is not offered; names file and line.
    """
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = _environment(ImmutableSandboxedEnvironment)
    try:
        text = Path(path).read_text(encoding="utf-8")
        _check(environment.parse(text), path, extends)
        code = environment.compile(text, name=path, filename=path)
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"the template {path} cannot be read: {error}") from None
    except jinja2.TemplateSyntaxError as error:
        raise ProfileError(f"{path}, line {error.lineno}: {error.message}") from None
    return jinja2.Template.from_code(environment, code, environment.make_globals(None))


def render(template: jinja2.Template, **values: Any) -> str:
    """The text of a template.

    Raises
    ------
    ProfileError
        If a template of a site's own asks for what is not there; names file and line.
    """
    import jinja2

    try:
        return template.render(**values)
    except jinja2.TemplateError as error:
        if template.name is None or not Path(template.name).is_absolute():
            raise  # one of ours: a fault of hpclaunch
        where = ", ".join([template.name, *_line_in(template.name, error)])
        raise ProfileError(
            f"{where}: {error.message}", hint="docs/sites.md names what a template may use"
        ) from None


def _environment(kind: type[jinja2.Environment]) -> jinja2.Environment:
    import jinja2

    environment = kind(
        loader=jinja2.FileSystemLoader(paths.shipped_dir("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is bash, not HTML; `quote` is its escape
    )
    environment.filters["quote"] = quote
    return environment


def _check(tree: jinja2.nodes.Template, path: str, extends: str) -> None:
    from jinja2 import nodes

    wanted = f'{{% extends "{extends}" %}}'
    parents = [one for one in tree.body if isinstance(one, nodes.Extends)]
    if not parents:
        raise ProfileError(
            f"{path}: does not extend the template of hpclaunch, without which a job has no last "
            "word and no private directory",
            hint=f"let it begin with {wanted}",
        )
    parent = parents[0].template
    if not (isinstance(parent, nodes.Const) and parent.value == extends) or len(parents) > 1:
        raise ProfileError(f"{path}, line {parents[0].lineno}: must be {wanted}, once")
    for block in tree.find_all(nodes.Block):
        if block.name not in OFFERED:
            raise ProfileError(
                f"{path}, line {block.lineno}: there is no block {block.name!r} to fill",
                hint=f"the blocks are {', '.join(OFFERED)}",
            )
    if not any(tree.find_all(nodes.Block)):
        raise ProfileError(
            f"{path}: fills no block, so it changes nothing",
            hint=f"the blocks are {', '.join(OFFERED)}",
        )


def _line_in(path: str, error: Exception) -> list[str]:
    """The line of the file in which an error came up, as far as it is known."""
    trace, found = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            found = trace.tb_lineno
        trace = trace.tb_next
    return [] if found is None else [f"line {found}"]
