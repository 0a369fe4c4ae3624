"use strict";
// What the other parts share. Text only ever enters the page through here, as text nodes.
const DATA = JSON.parse(document.getElementById("data").textContent);

function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function startTheme() {
  const button = document.getElementById("theme");
  const themes = ["system", "light", "dark"];
  let at = 0;
  button.hidden = false;
  button.addEventListener("click", () => {
    at = (at + 1) % themes.length;
    button.textContent = `Theme: ${themes[at]}`;
    if (at) document.documentElement.dataset.theme = themes[at];
    else delete document.documentElement.dataset.theme;
  });
}

document.addEventListener("DOMContentLoaded", () => {
  startTheme();
  document.querySelectorAll("table").forEach(sortable);
  document.querySelectorAll("[data-chart]").forEach((figure) => chart(figure, DATA.charts[figure.dataset.chart]));
  if (DATA.rollouts) browser(DATA.rollouts);
});
