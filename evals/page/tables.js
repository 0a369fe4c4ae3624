// Tables that sort by a heading's button. What was not measured stays at the end either way.
function sortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") === "descending";
      const text = heading.classList.contains("text");
      for (const other of headings) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => ({ row, key: sortKey(row.cells[column], text) }));
      rows.sort((one, other) => {
        if (one.key === null || other.key === null) return (one.key === null) - (other.key === null);
        const order = text ? one.key.localeCompare(other.key, "en", { numeric: true }) : (one.key > other.key) - (one.key < other.key);
        return up ? order : -order;
      });
      body.append(...rows.map(({ row }) => row));
    });
  });
}

function sortKey(cell, text) {
  if (text) return cell.textContent.trim() === "–" ? null : cell.textContent;
  return cell.dataset.order === undefined ? null : Number(cell.dataset.order.replace("inf", "Infinity")); // as Python spells it
}
