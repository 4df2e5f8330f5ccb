"""Figures: the points and intervals are those of the table, and what is missing is named."""

import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pytest

from rgbd_insight import plots
from rgbd_insight.metrics.joint import QUADRANTS
from rgbd_insight.plots.consistency import MARKS
from rgbd_insight.plots.main import MAIN
from rgbd_insight.result import Result, joined
from tests import _results as made

FIGURES = {
    "similarity": lambda: plots.similarity(made.consistency()),
    "normalised": lambda: plots.similarity(made.consistency(), "cka normalised"),
    "predictivity": lambda: plots.similarity(made.consistency(), "predictivity"),
    "consistent share": lambda: plots.similarity(made.consistency(), "consistent share"),
    "networks": lambda: plots.similarity(joined([made.consistency(), made.consistency("se", 0.1)])),
    "shares": lambda: plots.partitioning(made.consistency(), made.specificity(), "depth"),
    "concepts": lambda: plots.concepts(made.specificity()),
    "visibility": lambda: plots.visibility(made.specificity()),
    "specific share": lambda: plots.dissimilarity(made.specificity()),
    "level semantic variance": lambda: plots.dissimilarity(made.specificity(), "level semantic variance"),
    "contributions": lambda: plots.contributions(made.specificity()),
    "families": lambda: plots.families_by_level(made.evolution()),
    "centre": lambda: plots.centre_of_mass(made.evolution()),
    "levels": lambda: plots.level_similarity(made.evolution(), "rgb"),
    "training": lambda: plots.training(made.evolution()),
    "family in training": lambda: plots.training(made.evolution(), "family in training"),
    "dimension": lambda: plots.dimension(made.evolution()),
    "retention": lambda: plots.retention(made.collaboration()),
    "accuracy": lambda: plots.accuracy(made.collaboration()),
    "utilisation": lambda: plots.utilisation(made.collaboration()),
    "ablation": lambda: plots.ablation(made.collaboration()),
    "classes": lambda: plots.class_accuracy(made.collaboration()),
    "gradients": lambda: plots.gradients(made.collaboration()),
}
QUESTIONS = {q: getattr(made, q) for q in ("consistency", "specificity", "evolution", "collaboration")}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def segments(ax, along):
    """(low, high) of all interval lines along one coordinate, as a set of rounded pairs."""
    found = [s for c in ax.collections if hasattr(c, "get_segments") for s in c.get_segments() if len(s) == 2]
    straight = [s[:, along] for s in found if s[0, 1 - along] == s[1, 1 - along]]
    return {tuple(np.round(s, 6)) for s in straight}


def ends(table):
    return {tuple(pair) for pair in np.round(table[["low", "high"]].to_numpy(float), 6)}


def texts(ax):
    legend = ax.get_legend()
    return [] if legend is None else [t.get_text() for t in legend.get_texts()]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_title_labels_an_opaque_ground_and_fits_a_page(name):
    with plt.rc_context({"figure.facecolor": "none"}):
        ax = FIGURES[name]()
    assert ax.get_title("left") and ax.get_xlabel() + ax.get_ylabel()
    assert min(matplotlib.colors.to_rgba(ax.figure.get_facecolor())) > 0.95
    assert ax.figure.get_size_inches()[0] <= 7
    fonts = [t.get_fontsize() for a in (ax, *ax.child_axes) for t in a.findobj(matplotlib.text.Text) if t.get_text()]
    assert min(fonts) >= 9
    ax.figure.draw_without_rendering()
    legend = ax.get_legend()
    if legend is not None:
        frame, region = legend.get_window_extent(), ax.get_window_extent()
        assert frame.y1 < region.y0, "the legend covers the data"
        assert frame.x0 >= 0 and frame.x1 <= ax.figure.bbox.x1, "the legend is wider than the figure"


@pytest.mark.parametrize("name", FIGURES)
def test_series_can_be_distinguished_in_grey(name):
    ax = FIGURES[name]()
    for panel in (ax, *ax.child_axes):
        assert not alike_in_grey(panel)


def test_a_title_leaves_long_names_their_place():
    ax = plots.quadrants(made_of_units("an operator"))
    plots.titled(ax, "Fewer units of a joint network have a counterpart in the other stream, " * 2)
    ax.figure.draw_without_rendering()
    assert ax.get_tightbbox().x1 <= ax.figure.bbox.x1


def made_of_units(name):
    row = {"measure": "units in quadrant", "fusion": name, "level": 4, "modality": "rgb", "value": 0.25}
    return Result.of("joint", [row | {"label": label} for label in QUADRANTS], made={})


def alike_in_grey(ax):
    """Pairs of lines in two colours of one lightness that have the same marker, fill and line."""
    drawn = [line for line in ax.lines if len(line.get_xydata()) > 1 and line.get_mfc() != "none"]  # no planted marks
    looks = [
        (lightness(line.get_color()), line.get_marker(), line.get_linestyle(), line.get_mfc() == "white")
        for line in drawn
    ]
    return [
        (a, b)
        for i, a in enumerate(looks)
        for j, b in enumerate(looks[:i])
        if a[1:] == b[1:] and drawn[i].get_color() != drawn[j].get_color() and abs(a[0] - b[0]) < 0.2
    ]


def lightness(colour):
    """L* of a colour, from 0 (black) to 1 (white)."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in matplotlib.colors.to_rgb(colour)]
    return 1.16 * np.cbrt(np.dot(linear, (0.2126, 0.7152, 0.0722))) - 0.16


def test_lines_that_differ_in_colour_alone_are_seen():
    ax = plt.figure().subplots()
    for colour in ("#d55e00", "#0072b2"):
        ax.plot([0, 1], color=colour)
    assert (
        alike_in_grey(ax)
        and lightness("white") == pytest.approx(1)
        and lightness("#777777") == pytest.approx(0.5, abs=0.01)
    )
    ax.lines[1].set_marker("s")
    assert not alike_in_grey(ax)


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plots.plot(made.consistency(), ax=ax),
        lambda ax: plots.partitioning(made.consistency(), made.specificity(), "rgb", ax=ax),
        lambda ax: plots.concepts(made.specificity(), ax=ax),
        lambda ax: plots.training(made.evolution(), ax=ax),
        lambda ax: plots.accuracy(made.collaboration(), ax),
    ],
    ids=["similarity", "shares", "concepts", "training", "accuracy"],
)
def test_figures_draw_into_given_axes(draw):
    figure, ax = plt.subplots()
    assert draw(ax) is ax and plt.get_fignums() == [figure.number]


def test_similarity_intervals_null_and_ceiling_are_those_of_the_table():
    result = made.consistency()
    ax, table = plots.similarity(result), result.rows("cka")
    assert segments(ax, 1) == ends(table)
    band = next(c for c in ax.collections if c.get_label().startswith("chance"))
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(0.06)
    ceiling = next(line for line in ax.lines if line.get_linestyle() == "--")
    np.testing.assert_allclose(ceiling.get_ydata(), table["ceiling"])
    assert texts(ax) == ["between the modalities", "ceiling (other seed)", "chance (permuted scenes)"]


def test_networks_that_are_joined_are_told_apart():
    ax = FIGURES["networks"]()
    assert [text.get_text() for text in ax.texts] == ["sum", "se"] and texts(ax).count("ceiling (other seed)") == 1
    lines = [line for line in ax.lines if line.get_label() in ("sum", "se")]
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 2


def test_a_level_without_a_value_says_so():
    result = made.consistency()
    result.table.loc[result.table.measure.eq("cka") & result.table.level.eq(2), ["value", "low", "high"]] = np.nan
    ax = plots.similarity(result)
    assert [(t.get_text(), t.get_position()[0]) for t in ax.texts] == [("n/a", 2.0)]


def test_shares_stack_to_the_sum_and_negative_parts_hang_below():
    result, own = made.consistency(), made.specificity()
    ax = plots.partitioning(result, own, "rgb")
    at_4 = [p for p in ax.patches if p.get_x() < 4 < p.get_x() + p.get_width()]
    assert sorted(round(p.get_height(), 6) for p in at_4) == [-0.02, 0.1, 0.1, 0.4]
    tops = [p.get_y() + p.get_height() for p in at_4]
    assert max(tops) == pytest.approx(0.6) and min(tops) == pytest.approx(-0.02)
    marked = ends(result.rows("yardstick", modality="rgb"))
    assert segments(ax, 1) == ends(result.rows("consistent share", label="all", modality="rgb")) | marked
    marks = {line.get_label(): line.get_ydata() for line in ax.lines}
    known, planted, surfaces = (mark["label"] for mark in MARKS.values())
    np.testing.assert_allclose(marks[known], [0.22, 0.32, 0.42, 0.52])
    np.testing.assert_allclose(marks[planted], [0.12, 0.22, 0.32, 0.42])
    np.testing.assert_allclose(marks[surfaces], [0.26, 0.36, 0.46, 0.56])
    plain = next(line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_allclose(plain.get_ydata(), [0.17, 0.27, 0.37, 0.47])
    assert {known, "consistent, uncorrected"} <= set(texts(ax)) and "uncorrected" not in ax.get_title("left")


def test_shares_that_are_uncorrected_are_drawn_as_such():
    def of(result, kind):
        table = result.table[result.table.measure == f"{kind} share"]
        rows = table.assign(measure=f"{kind} share uncorrected").drop(columns="question").to_dict("records")
        return Result.of(result.question, rows, made={})

    shared, own = of(made.consistency(), "consistent"), of(made.specificity(), "specific")
    for ax in (plots.partitioning(shared, own, "rgb"), plots.similarity(shared, "consistent share")):
        assert "uncorrected" in ax.get_title("left")
    assert plots.dissimilarity(own).get_title("left").endswith(", uncorrected")
    assert "uncorrected" in plots.plot(shared).get_title("left") and "uncorrected" in plots.plot(own).get_title("left")
    with pytest.raises(ValueError, match="specific share"):
        plots.partitioning(shared, made.specificity(), "rgb")  # never one form beside the other


def test_concepts_at_positions_are_drawn_from_their_own_rows():
    row = {"level": 0, "concept": "rug", "family": "planted: rgb", "modality": "rgb"}
    rows = [
        row | {"measure": f"{measure}{where}", "value": value, "label": label}
        for where, value, label in (("", 0.2, "undecided"), (" at positions", 0.9, "rgb"))
        for measure in ("decodability", "label")
    ]
    ax = plots.concepts(Result.of("specificity", rows, made={}), positions=True)
    assert "at positions" in ax.get_title("left")
    assert "rgb" in [text.get_text() for text in ax.texts] and "undecided" not in [t.get_text() for t in ax.texts]
    assert any(0.9 in np.atleast_1d(line.get_xdata()) for line in ax.lines)


def test_concepts_have_a_row_each_with_interval_label_and_planted_diamond():
    result = made.specificity(count=5)
    ax, table = plots.concepts(result), result.rows("decodability", level=0)
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert len(names) == len(set(names)) == 33 and names[0].startswith("rgb") and names[-1] in made.HUES
    assert ends(table) <= segments(ax, 0)
    assert sum(len(line.get_xdata()) for line in ax.lines if line.get_marker() == "D") == 60
    assert [t.get_text() for t in ax.texts].count("together") == 5
    assert ax.figure.get_size_inches()[1] > 8


def test_concepts_can_be_chosen():
    result = made.specificity()
    ax = plots.concepts(result, 1, families=["planted: rgb", "hue"])
    assert {t.get_text()[:3] for t in ax.get_yticklabels()} == {"rgb", "red", "gre", "blu"}
    assert "level 1" in ax.get_title("left")
    most = plots.concepts(result, top=4)
    assert {t.get_text()[:3] for t in most.get_yticklabels()} == {"rgb", "dep"}
    with pytest.raises(ValueError, match=r"`families` must be among planted: rgb.*hue; got \['hues'\]"):
        plots.concepts(result, families=["hues"])
    with pytest.raises(ValueError, match="`level` must be among 0, 1 here; got 9"):
        plots.concepts(result, 9)


def test_visibility_draws_every_planted_concept_of_both_modalities():
    ax = FIGURES["visibility"]()
    planted = made.specificity().rows("decodability", level=0).dropna(subset="planted")
    points = [line for line in ax.lines if line.get_linestyle() == "None"]
    assert sum(len(line.get_xdata()) for line in points) == len(planted) == 24
    assert segments(ax, 1) == ends(planted)
    with pytest.raises(ValueError, match="nothing in it has a known visibility"):
        plots.visibility(Result.of("specificity", [{"measure": "decodability", "level": 1, "value": 0.5}], made={}))


@pytest.mark.parametrize(
    "name, measure, where",
    [
        ("families", "family", {"family": "hue"}),
        ("training", "to final", {"level": 1}),
        ("family in training", "family in training", {"family": "hue"}),
    ],
)
def test_panels_have_a_line_with_intervals_for_each_modality(name, measure, where):
    ax = FIGURES[name]()
    table = made.evolution().rows(measure, **where)
    panel = next(p for p in ax.child_axes if p.get_title() in ("hue", "level 1"))
    assert segments(panel, 1) == ends(table)
    named = [line.get_label() for line in panel.lines if line.get_marker() != "None"]
    assert [label for label in named if not label.startswith("_")] == ["rgb", "depth"]  # less the pieces beside names
    dashed = [line for line in panel.lines if line.get_linestyle() == "--"]
    assert len(dashed) == (2 if measure == "to final" else 0)


def test_families_can_be_chosen_and_planted_kinds_come_first():
    ax = plots.families_by_level(made.evolution(), families=["texture", "planted: neither", "planted: rgb"])
    assert [p.get_title() for p in ax.child_axes] == ["planted: rgb", "planted: neither", "texture"]


def test_heat_map_prints_value_and_interval_of_every_pair():
    ax = plots.level_similarity(made.evolution(), "rgb")
    shown = np.array([t.get_text() for t in ax.texts]).reshape(4, 4)
    assert (np.diag(shown) == "1").all() and shown[0, 2] == "0.60\n0.55 … 0.65"


def test_retention_shows_intervals_and_the_twins_spread():
    result = made.collaboration()
    ax = plots.retention(result)
    assert ends(result.rows("retention")) <= segments(ax, 0)
    assert len(ax.patches) == 30 and {round(p.get_width(), 6) for p in ax.patches} == {0.1}


def test_accuracy_has_the_twins_and_chance():
    ax = plots.accuracy(made.collaboration())
    labels = [t.get_text() for t in ax.get_xticklabels()]
    assert labels == ["both", "rgb", "depth", "none", "rgb twin", "depth twin"]
    assert segments(ax, 1) == ends(made.collaboration().rows("accuracy"))
    assert ax.lines[0].get_ydata()[0] == pytest.approx(1 / 20)
    assert plots.accuracy(made.collaboration(), chance=0.1).lines[0].get_ydata()[0] == 0.1


def test_utilisation_bars_carry_their_intervals():
    ax = plots.utilisation(made.collaboration())
    assert len(ax.patches) == 5 and segments(ax, 1) == ends(made.collaboration().rows("utilisation"))


def test_ablation_compares_with_the_central_95_percent_of_random_sets():
    result = made.collaboration()
    ax, rows = plots.ablation(result), result.rows("ablation")
    draws = rows[rows.label.str.startswith("random rgb")].value
    bar = ax.patches[0]
    np.testing.assert_allclose([bar.get_x(), bar.get_x() + bar.get_width()], np.quantile(draws, [0.025, 0.975]))
    assert segments(ax, 0) == ends(rows[~rows.label.str.startswith("random")])


def test_ablations_of_another_share_or_input_are_rows_of_their_own():
    names = ("specific rgb", "random rgb 1 at 50%", "random rgb 2 at 50%", "specific rgb at 50%", "my own units")
    rows = [{"measure": "ablation", "condition": "both", "label": name, "value": 0.1} for name in names]
    rows.append({"measure": "ablation", "condition": "rgb:mean", "label": "specific rgb given rgb:mean", "value": 0.1})
    ax = plots.ablation(Result.of("collaboration", rows, made={}))
    written = [label.get_text().split("\n") for label in ax.get_yticklabels()]
    assert written == [["rgb units", "under both"], ["rgb units at 50%", "under both"], ["rgb units", "under rgb:mean"]]


@pytest.mark.parametrize("question", QUESTIONS)
def test_plot_draws_the_main_figure_and_falls_back_to_any_other_measure(question):
    result = QUESTIONS[question]()
    drawable = [m for m in MAIN[question] if m in set(result.table.measure)]
    assert len(drawable) >= 3
    for measure in drawable:
        only = Result(question, result.rows(measure), (), result.made)
        ax = plots.plot(only)
        assert ax.get_title("left") and (ax.has_data() or ax.child_axes)
    assert plots.plot(result).get_title("left")


def test_options_reach_the_figure():
    assert "level 1" in plots.plot(made.specificity(), level=1).get_title("left")


def test_colours_keep_their_meaning_and_other_modalities_get_the_rest():
    from rgbd_insight.plots.style import MODALITIES, modality_colours

    first, second, third = MODALITIES[:3]
    assert modality_colours(["depth", "rgb"]) == {"depth": second, "rgb": first}
    assert modality_colours(["rgb", "thermal"]) == {"rgb": first, "thermal": second}
    assert modality_colours(["thermal"]) == {"thermal": second}
    assert modality_colours(["thermal", "rgb", "depth"]) == {"thermal": third, "rgb": first, "depth": second}


def test_errors_name_the_measure_and_the_call():
    empty = Result.of("collaboration", [], missing=made.collaboration().missing, made={})
    with pytest.raises(ValueError, match="measure 'retention'; it holds nothing") as error:
        plots.retention(empty)
    assert "ri.collaboration(features, run, measures=['retention'])" in str(error.value)
    assert "the depth twin, because nothing to compare with; train and extract 'depth'" in str(error.value)
    with pytest.raises(ValueError, match="must answer 'evolution'; got 'consistency'"):
        plots.families_by_level(made.consistency())
    with pytest.raises(ValueError, match="'level similarity', modality 'heat'"):
        plots.level_similarity(made.evolution(), "heat")
    with pytest.raises(ValueError, match="must hold one of 'retention'.*it holds nothing"):
        plots.plot(empty)
    with pytest.raises(ValueError, match="must be of one network here; got sum, se"):
        plots.concepts(joined([made.specificity(), made.specificity("se")]))
    with pytest.raises(ValueError, match="must be one of consistency, .*got 'taste'"):
        plots.plot(Result.of("taste", [], made={}))
