"use strict";
// The filter of the rows. If scripts may not run, all rows are shown.
(() => {
  const rows = [...document.getElementById("rows").rows];
  const [find, group, field, found] = ["find", "group", "field", "found"].map((id) => document.getElementById(id));
  // Plates are written with and without spaces: KCA 542Q is found by kca542q.
  const folded = (text) => text.toLowerCase().replace(/\s+/g, "");
  const texts = rows.map((row) => folded(row.textContent));
  const show = () => {
    const wanted = folded(find.value);
    let shown = 0;
    rows.forEach((row, index) => {
      const fits =
        texts[index].includes(wanted) &&
        (!group || !group.value || row.dataset.group === group.value) &&
        (!field || !field.value || (row.dataset.fields || "").split("\n").includes(field.value));
      row.hidden = !fits;
      shown += fits;
    });
    found.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
  };
  let waiting;
  find.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(show, 80); });
  for (const choice of [group, field]) if (choice) choice.addEventListener("change", show);
  find.form.addEventListener("submit", (event) => event.preventDefault());
  find.form.addEventListener("keydown", (event) => { if (event.key === "Escape") { find.form.reset(); show(); } });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|SELECT/.test(document.activeElement.tagName)) { event.preventDefault(); find.focus(); }
  });
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
  find.form.hidden = false;
  show();
})();
