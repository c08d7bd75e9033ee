// PDFKit.
import { createWriteStream, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
const PDFDocument = createRequire(join(process.argv[2], "x.js"))("pdfkit");

function make(name, options = {}, inside = () => {}) {
  const document = new PDFDocument(options);
  document.pipe(createWriteStream(`out/${name}.pdf`));
  document.fontSize(10);
  for (let n = 0; n < 60; n++) document.text(`Position ${n}: article ${n * 37}, 3 pieces`);
  inside(document);
  document.end();
}

make("plain");
make("uncompressed", { compress: false });
for (const logo of readdirSync("logos").filter((name) => name.endsWith(".png")))
  for (const compress of [true, false]) make(`${logo}${compress ? "" : " uncompressed"}`, { compress }, (document) => document.image(`logos/${logo}`, 300, 100));
for (const file of readdirSync("attachments"))
  for (const compress of [true, false]) make(`with ${file}${compress ? "" : " uncompressed"}`, { compress }, (document) => document.file(`attachments/${file}`, { name: file }));
for (const pdfVersion of ["1.3", "1.4", "1.6", "1.7ext3"]) {
  make(`owner password ${pdfVersion}`, { pdfVersion, ownerPassword: "o" });
  make(`user password ${pdfVersion}`, { pdfVersion, userPassword: "u" });
}
