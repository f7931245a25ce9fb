"""The families of models that this network computes, and what their specs look like."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from ml_runtime.family import ModelFamily
from ml_runtime.registry import FAMILIES, get_family
from ml_runtime.schemas import build_schema
from node.api.problems import problem_responses

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/families", tags=["models"])


class FamilyView(BaseModel):
    """One way to learn."""

    name: str
    tasks: list[str] = Field(description="What models of the family can be for.")
    layouts: list[str] = Field(description="Which samples they take.")
    unlearns: bool = Field(description="Takes a contribution back exactly, without a replay.")
    merges: bool = Field(description="Two models add up to one that learnt both.")
    grows_classes: bool
    grows_features: bool
    decays: bool = Field(description="Can forget a share of everything it learnt.")
    spec: dict[str, Any] = Field(description="JSON Schema of a spec, settings with their ranges.")


class FamilyList(BaseModel):
    """All families."""

    items: list[FamilyView]


@router.get(
    "",
    operation_id="list_families",
    summary="Families of models",
    responses=problem_responses("not_ready"),
)
async def list_families() -> FamilyList:
    """Return every family with the schema of its specs."""
    return FamilyList(items=[_make_view(family) for family in FAMILIES])


@router.get(
    "/{name}",
    operation_id="get_family",
    summary="One family of models",
    responses=problem_responses("unknown_family"),
)
async def get_one_family(
    name: Annotated[str, Path(description="Name of the family.", max_length=64)],
) -> FamilyView:
    """Return a family with the schema of its specs."""
    return _make_view(get_family(name))


def _make_view(family: ModelFamily) -> FamilyView:
    return FamilyView(
        name=family.name,
        tasks=list(family.tasks),
        layouts=list(family.layouts),
        unlearns=family.supports_unlearn,
        merges=family.supports_merge,
        grows_classes=family.grows_classes,
        grows_features=family.grows_features,
        decays=family.supports_decay,
        spec=build_schema(family),
    )
