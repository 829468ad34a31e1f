"""Every method by name: what it is, when it applies, which options it can use, how it is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import FieldError, MethodNotApplicableError, UnknownMethodError
from .cgmn import Cgmn
from .coordinate_descent import LeastSquares, PositiveDefinite
from .direct import Direct, require_structure
from .gram import MOST_ROWS, Gram
from .kaczmarz import Kaczmarz
from .krylov import ConjugateGradients, Lsqr
from .lsmr import Lsmr
from .options import Options
from .process import Process
from .result import FloatArray
from .ssor_cg import SsorCg
from .ssor_cgls import SsorCgls
from .state import State

COMMON = frozenset({"method", "rtol", "atol", "max_epochs", "time_limit", "seed", "threads"})
BATCH = frozenset({"batch_size", "momentum", "beta", "step_size"})
_RESTRICTED = sorted(BATCH | {"minimum_norm"})
_DEFAULT = Options()


@dataclass(frozen=True, slots=True)
class Form:
    """One way to run a method.

    Parameters
    ----------
    start : callable
        Starts its process.
    note : str
        What to say of it.
    automatic : bool
        Whether only ``auto`` may choose it, because it gives up what the method promises.
    """

    start: Callable[[State, FloatArray, FloatArray, Options], Process]
    note: str = ""
    automatic: bool = False


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
    gregarious : bool
        Whether solves side by side share most of their readings of A; others keep each other waiting.
    """

    name: str
    help: str
    options: frozenset[str]
    forms: Callable[[State], tuple[Form, ...]] = lambda _: ()
    require: Callable[[State], None] | None = None
    gregarious: bool = True


LU = Form(lambda state, b, x0, _: Direct(state, b, x0), "sparse LU")
"""The square form of ``direct``."""

GRAM = Form(lambda state, b, x0, _: Gram(state, b, x0), "Cholesky factor of the short side's Gram matrix")
"""The rectangular form of ``direct``."""

_ROWS = (
    Form(lambda state, b, x0, o: Cgmn(state.swept_rows, b, x0, o)),
    Form(lambda state, b, x0, o: Cgmn(state.scaled_rows, b, x0, o), "columns scaled", automatic=True),
)
_COLUMNS = (
    Form(lambda state, b, x0, o: SsorCgls(state.swept_columns, b, x0, o)),
    Form(lambda state, b, x0, o: SsorCgls(state.scaled_columns, b, x0, o), "rows scaled", automatic=True),
)


def _coordinate_descent(state: State) -> tuple[Form, ...]:
    least_squares = Form(LeastSquares, "least-squares form")
    if state.perhaps_definite and state.unit_diagonal.spectrum.mu > 0.0:
        return Form(PositiveDefinite, "symmetric positive definite form"), least_squares
    return (least_squares,)


def _direct(state: State) -> tuple[Form, ...]:
    m, n = state.A.shape
    gram = (GRAM,) if min(m, n) <= MOST_ROWS else ()
    return (LU, *gram) if m == n else gram


def _require_direct(state: State) -> None:
    m, n = state.A.shape
    if m == n:
        require_structure(state)
    elif min(m, n) > MOST_ROWS:
        raise MethodNotApplicableError(
            f"method direct needs a square matrix or a short side of at most {MOST_ROWS:,}, but this one is "
            f"{m:,} × {n:,}",
            errors=[
                FieldError("method", f"direct needs a square matrix or a short side of at most {MOST_ROWS:,}")
            ],
        )


def _require_symmetric(name: str) -> Callable[[State], None]:
    def require(state: State) -> None:
        if not state.symmetric:
            raise MethodNotApplicableError(
                f"method {name} needs a symmetric matrix, and this one is not",
                errors=[FieldError("method", f"{name} needs a symmetric matrix")],
            )

    return require


def _require_definite(state: State) -> None:
    _require_symmetric("ssor_cg")(state)
    if not state.perhaps_definite:
        raise MethodNotApplicableError(
            "method ssor_cg needs a definite matrix, and the diagonal of this one has zeros or both signs",
            errors=[FieldError("method", "ssor_cg needs a diagonal of one sign, without zeros")],
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
        ),
        MethodSpec(
            "coordinate_descent",
            "Mini-batch randomized coordinate descent with classical momentum: on A itself if it is "
            "symmetric positive definite, else on the least-squares problem.",
            COMMON | BATCH,
            _coordinate_descent,
        ),
        MethodSpec(
            "cgmn",
            "Symmetric Kaczmarz sweeps accelerated by conjugate gradients: any shape and rank, minimum-norm.",
            COMMON | {"minimum_norm"},
            lambda _: _ROWS,
        ),
        MethodSpec(
            "ssor_cgls",
            "Symmetric coordinate-descent sweeps over columns, accelerated by CGLS: any shape; least-squares "
            "solutions; rows of any scale.",
            COMMON,
            lambda _: _COLUMNS,
        ),
        MethodSpec(
            "ssor_cg",
            "Conjugate gradients with symmetric Gauss–Seidel sweeps as preconditioner: definite matrices.",
            COMMON,
            lambda _: (Form(lambda state, b, x0, _: SsorCg(state, b, x0)),),
            _require_definite,
        ),
        MethodSpec(
            "lsqr",
            "SciPy's LSQR: any shape; minimum-norm and least-squares solutions.",
            COMMON | {"minimum_norm"},
            lambda _: (Form(Lsqr),),
            gregarious=False,
        ),
        MethodSpec(
            "lsmr",
            "LSMR as in SciPy, but to be watched and stopped at any step: any shape; minimum-norm and "
            "least-squares solutions.",
            COMMON | {"minimum_norm"},
            lambda _: (Form(Lsmr),),
            gregarious=False,
        ),
        MethodSpec(
            "cg",
            "SciPy's conjugate gradients: symmetric positive (semi)definite matrices.",
            COMMON | {"minimum_norm"},
            lambda _: (Form(ConjugateGradients),),
            _require_symmetric("cg"),
            gregarious=False,
        ),
        MethodSpec(
            "direct",
            "SciPy's SuperLU with iterative refinement on square matrices; where one side is short, a dense "
            "Cholesky factor of its Gram matrix.",
            COMMON | {"minimum_norm"},
            _direct,
            _require_direct,
            gregarious=False,
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
    for name in _RESTRICTED:
        if name not in spec.options and getattr(options, name) != getattr(_DEFAULT, name):
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
