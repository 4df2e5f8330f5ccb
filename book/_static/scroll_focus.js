/* What scrolls inside its own box must be reachable by keyboard: it becomes a tab stop as long as it is too wide. */
(function () {
  function mark() {
    document.querySelectorAll(".bd-article :is(table, figure, .cell_output, .jupyter-widgets, div.math, pre)").forEach(function (box) {
      var scrolls = box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "visible";
      if (scrolls && !box.hasAttribute("tabindex")) {
        box.setAttribute("tabindex", "0");
        box.dataset.scrolls = "";
      } else if (!scrolls && "scrolls" in box.dataset) {
        box.removeAttribute("tabindex");
        delete box.dataset.scrolls;
      }
    });
  }
  window.addEventListener("load", function () {
    var article = document.querySelector(".bd-article");
    if (article) {
      new ResizeObserver(mark).observe(article); // the window's own event comes before the new layout
    }
  });
})();
