const filters = [...document.querySelectorAll("[data-filter]")];
const shown = document.getElementById("shown");
function filter() {
  let count = 0;
  for (const section of document.querySelectorAll("main > section")) {
    const rows = [...section.querySelectorAll("tbody tr")];
    for (const row of rows) {
      row.hidden = filters.some((one) => one.value && row.dataset[one.dataset.filter] !== one.value);
      count += !row.hidden;
    }
    section.hidden = rows.length > 0 && rows.every((row) => row.hidden);
  }
  shown.textContent = shown.dataset.text.replace("…", count);
}
for (const one of filters) one.addEventListener("change", filter);
document.getElementById("filters").hidden = false;
filter();
