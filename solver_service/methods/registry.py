"""Every method by name: what it is, when it applies, which options it can use, how it is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import FieldError, MethodNotApplicableError, UnknownMethodError
from .coordinate_descent import LeastSquares, PositiveDefinite
from .direct import Direct, require_structure
from .kaczmarz import Kaczmarz
from .krylov import ConjugateGradients, Lsqr
from .lsmr import Lsmr
from .options import Options
from .process import Process
from .result import FloatArray
from .state import State

COMMON = frozenset({"method", "rtol", "atol", "max_epochs", "time_limit", "seed", "threads"})
BATCH = frozenset({"batch_size", "momentum", "beta", "step_size"})


@dataclass(frozen=True, slots=True)
class Form:
    """One way to run a method: how its process is started, and what to say of it."""

    start: Callable[[State, FloatArray, FloatArray, Options], Process]
    note: str = ""


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A method that can be named in `Options.method`.

    Parameters
    ----------
    name, help : str
    options : frozenset of str
        Names of the options it can use.
    forms : callable
        The forms to try on a matrix, in this order; none for ``auto``, which starts other methods.
    require : callable
        Raises `MethodNotApplicableError` where the matrix does not fit.
    row_space : bool
        Whether from x0 = 0 the iterates stay in the row space: the limit is then the minimum-norm solution.
    """

    name: str
    help: str
    options: frozenset[str]
    forms: Callable[[State], tuple[Form, ...]] = lambda _: ()
    require: Callable[[State], None] | None = None
    row_space: bool = False


def _coordinate_descent(state: State) -> tuple[Form, ...]:
    least_squares = Form(LeastSquares, "least-squares form")
    if state.symmetric_positive_diagonal and state.unit_diagonal.spectrum.mu > 0.0:
        return Form(PositiveDefinite, "symmetric positive definite form"), least_squares
    return (least_squares,)


def _require_symmetric(state: State) -> None:
    if not state.symmetric:
        raise MethodNotApplicableError(
            "method cg needs a symmetric matrix, and this one is not",
            errors=[FieldError("method", "cg needs a symmetric matrix")],
        )


METHODS: dict[str, MethodSpec] = {
    spec.name: spec
    for spec in (
        MethodSpec(
            "auto",
            "Looks at the matrix, tries the promising methods in turn, and says what it did.",
            COMMON | BATCH | {"minimum_norm"},
        ),
        MethodSpec(
            "kaczmarz",
            "Mini-batch randomized Kaczmarz with classical momentum: row actions, for any consistent system; "
            "best on tall, well-conditioned ones.",
            COMMON | BATCH | {"minimum_norm"},
            lambda _: (Form(Kaczmarz),),
            row_space=True,
        ),
        MethodSpec(
            "coordinate_descent",
            "Mini-batch randomized coordinate descent with classical momentum: on A itself if it is "
            "symmetric positive definite, else on the least-squares problem.",
            COMMON | BATCH,
            _coordinate_descent,
        ),
        MethodSpec(
            "lsqr",
            "SciPy's LSQR: any shape; minimum-norm and least-squares solutions.",
            COMMON | {"minimum_norm"},
            lambda _: (Form(lambda state, b, x0, _: Lsqr(state, b, x0)),),
            row_space=True,
        ),
        MethodSpec(
            "lsmr",
            "LSMR as in SciPy, but to be watched and stopped at any step: any shape; minimum-norm and "
            "least-squares solutions.",
            COMMON | {"minimum_norm"},
            lambda _: (Form(lambda state, b, x0, _: Lsmr(state, b, x0)),),
            row_space=True,
        ),
        MethodSpec(
            "cg",
            "SciPy's conjugate gradients: symmetric positive (semi)definite matrices.",
            COMMON | {"minimum_norm"},
            lambda _: (Form(lambda state, b, x0, _: ConjugateGradients(state, b, x0)),),
            _require_symmetric,
            row_space=True,
        ),
        MethodSpec(
            "direct",
            "SciPy's SuperLU with iterative refinement: square, non-singular matrices.",
            COMMON | {"minimum_norm"},
            lambda _: (Form(lambda state, b, x0, _: Direct(state, b, x0)),),
            require_structure,
        ),
    )
}
"""All methods, ``auto`` first."""


def find(options: Options) -> MethodSpec:
    """Look up `options.method` and check that it can use every option that was set.

    Raises
    ------
    UnknownMethodError
        There is no such method; the message lists those that exist.
    MethodNotApplicableError
        An option was set that the method cannot use; both are named.
    """
    spec = METHODS.get(options.method)
    if spec is None:
        message = f"there is no method {options.method[:40]!r}; known are {', '.join(METHODS)}"
        raise UnknownMethodError(
            message, errors=[FieldError("method", f"must be one of {', '.join(METHODS)}")]
        )
    default = Options()
    for name in sorted(BATCH | {"minimum_norm"}):
        if name not in spec.options and getattr(options, name) != getattr(default, name):
            raise MethodNotApplicableError(
                f"method {spec.name} cannot use option {name}",
                errors=[FieldError(name, f"cannot be used with method {spec.name}")],
            )
    if options.momentum == "none" and options.beta:
        raise MethodNotApplicableError(
            "option beta cannot be used with momentum none",
            errors=[FieldError("beta", "cannot be used with momentum none")],
        )
    return spec
