// Light, dark, or as the system says; kept for the next visit where the browser allows it.

import { choice } from "./dom.js";

const KEY = "espl-bench-theme";
const THEMES = [{ value: "auto", text: "auto" }, { value: "light", text: "light" }, { value: "dark", text: "dark" }];

function kept() {
  try {
    return localStorage.getItem(KEY) ?? "auto";
  } catch {  // a page from a file may not keep anything
    return "auto";
  }
}

function apply(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function themeChoice() {
  apply(kept());
  return choice("theme", "Theme", THEMES, kept(), (theme) => {
    apply(theme);
    try {
      localStorage.setItem(KEY, theme);
    } catch {  // then it holds until the page is closed
    }
  });
}
