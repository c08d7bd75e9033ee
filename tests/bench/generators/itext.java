// iText 2 and OpenPDF (com.lowagie); for iText 5 the bench writes com.itextpdf instead.
import com.lowagie.text.*;
import com.lowagie.text.pdf.*;
import java.io.*;

class Make {
    interface Step { void on(PdfWriter writer, Document document) throws Exception; }

    static void make(String name, Step before, Step inside) throws Exception {
        Document document = new Document();
        PdfWriter writer = PdfWriter.getInstance(document, new FileOutputStream("out/" + name + ".pdf"));
        if (before != null) before.on(writer, document);
        document.open();
        for (int n = 0; n < 60; n++) document.add(new Paragraph("Position " + n + ": article " + n * 37 + ", 3 pieces"));
        if (inside != null) inside.on(writer, document);
        document.close();
    }

    public static void main(String[] arguments) throws Exception {
        make("plain", null, null);
        for (File logo : new File("logos").listFiles()) {
            Step shown = (writer, document) -> document.add(Image.getInstance(logo.getPath()));
            make(logo.getName(), null, shown);
            Document.compress = false;
            make(logo.getName() + " uncompressed", null, shown);
            Document.compress = true;
        }
        for (File file : new File("attachments").listFiles()) {
            Step attach = (w, document) -> w.addFileAttachment(file.getName(), null, file.getPath(), file.getName());
            make("with " + file.getName(), null, attach);
            Document.compress = false;
            make("with " + file.getName() + " uncompressed", null, attach);
            Document.compress = true;
        }
        make("object streams", (writer, document) -> writer.setFullCompression(), null);
        make("owner password", (w, document) -> w.setEncryption(null, "o".getBytes(), 0, PdfWriter.STANDARD_ENCRYPTION_128), null);
        make("user password", (w, document) -> w.setEncryption("u".getBytes(), null, 0, PdfWriter.STANDARD_ENCRYPTION_128), null);
        PdfReader reader = new PdfReader("out/plain.pdf");
        PdfStamper stamper = new PdfStamper(reader, new FileOutputStream("out/updated.pdf"), '\0', true);
        for (File logo : new File("logos").listFiles()) {
            Image picture = Image.getInstance(logo.getPath());
            picture.setAbsolutePosition(300, 700);
            stamper.getOverContent(1).addImage(picture);
        }
        stamper.close();
    }
}
