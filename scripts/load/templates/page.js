"use strict";
(() => {
  const THEMES = {
    light: { text: "#1b2430", grid: "#dde3ea", hover: "#ffffff" },
    dark: { text: "#d5dde7", grid: "#313c4a", hover: "#232c38" },
  };
  const PRINT_WIDTH = 640;
  const CONFIG = {
    displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
    // By default plotly.js offers to send a chart's data to its maker's servers.
    showSendToCloud: false, plotlyServerURL: "",
  };
  const scheme = matchMedia("(prefers-color-scheme: dark)");

  const charts = [...document.querySelectorAll(".chart")].map((element) => {
    const plot = JSON.parse(element.querySelector("script").textContent);
    return { element, plot, height: element.closest(".wide") ? 340 : 290 };
  });

  function template(theme) {
    const axis = {
      gridcolor: theme.grid, linecolor: theme.grid, zerolinecolor: theme.grid, automargin: true,
      title: { standoff: 8, font: { size: 12 } }, exponentformat: "none", separatethousands: true,
    };
    return {
      layout: {
        font: { color: theme.text, size: 12, family: "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif" },
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        margin: { l: 62, r: 18, t: 34, b: 46 },
        legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
        hoverlabel: { bgcolor: theme.hover, bordercolor: theme.grid, font: { color: theme.text } },
        xaxis: axis,
        yaxis: axis,
        modebar: { bgcolor: "rgba(0,0,0,0)", color: theme.grid, activecolor: theme.text },
      },
    };
  }

  function draw(printing) {
    const theme = printing || !scheme.matches ? THEMES.light : THEMES.dark;
    for (const { element, plot, height } of charts) {
      const copy = structuredClone(plot);
      const size = printing ? { height, width: PRINT_WIDTH } : { height, autosize: true };
      Plotly.react(element, copy.data, { ...copy.layout, ...size, template: template(theme) }, CONFIG);
    }
  }

  draw(false);
  scheme.addEventListener("change", () => draw(false));
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw(false));
})();
