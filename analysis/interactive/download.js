// Every figure can be saved as an SVG file, with the colours of print.
for (const figure of document.querySelectorAll(".figure")) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "download", textContent: "Download SVG" });
  button.setAttribute("aria-label", `Download SVG: ${figure.dataset.name}`);
  button.addEventListener("click", () => {
    const text = new XMLSerializer().serializeToString(figure.querySelector("svg"));
    const printed = { "var(--ink)": "#000000", "var(--soft)": "#555555", "var(--paper)": "#ffffff" };
    const link = document.createElement("a");
    const plain = text.replace(/var\(--(ink|soft|paper)\)/g, (name) => printed[name]);
    link.href = URL.createObjectURL(new Blob([plain], { type: "image/svg+xml" }));
    link.download = `${figure.dataset.name}.svg`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
  figure.after(button);
}
