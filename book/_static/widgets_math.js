/* The widget manager asks MathJax 2 (MathJax.Hub) to typeset what it draws; the pages have MathJax 3. Translate. */
window.addEventListener("load", function () {
  if (window.MathJax && !window.MathJax.Hub) {
    window.MathJax.Hub = {
      Queue: function (command) {
        var ready = window.MathJax.startup && window.MathJax.startup.promise;
        return ready && ready.then(function () { return window.MathJax.typesetPromise([command[2]]); });
      }
    };
  }
}, true);
