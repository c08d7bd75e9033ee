// PDFBox 2.
import java.io.*;
import java.util.*;
import org.apache.pdfbox.cos.COSName;
import org.apache.pdfbox.pdmodel.*;
import org.apache.pdfbox.pdmodel.common.filespecification.*;
import org.apache.pdfbox.pdmodel.encryption.*;
import org.apache.pdfbox.pdmodel.font.PDType1Font;
import org.apache.pdfbox.pdmodel.graphics.image.PDImageXObject;

class Make {
    interface Step { void on(PDDocument document, PDPageContentStream content) throws Exception; }

    static void make(String name, Step inside) throws Exception {
        try (PDDocument document = new PDDocument()) {
            PDPage page = new PDPage();
            document.addPage(page);
            try (PDPageContentStream content = new PDPageContentStream(document, page)) {
                for (int n = 0; n < 50; n++) {
                    content.beginText();
                    content.setFont(PDType1Font.HELVETICA, 10);
                    content.newLineAtOffset(50, 740 - 14 * n);
                    content.showText("Position " + n + ": article " + n * 37 + ", 3 pieces");
                    content.endText();
                }
                inside.on(document, content);
            }
            document.save("out/" + name + ".pdf");
        }
    }

    static void attach(PDDocument document, File file, boolean compress) throws Exception {
        PDEmbeddedFile data = compress
            ? new PDEmbeddedFile(document, new FileInputStream(file), COSName.FLATE_DECODE)
            : new PDEmbeddedFile(document, new FileInputStream(file));
        PDComplexFileSpecification specification = new PDComplexFileSpecification();
        specification.setFile(file.getName());
        specification.setEmbeddedFile(data);
        PDEmbeddedFilesNameTreeNode tree = new PDEmbeddedFilesNameTreeNode();
        tree.setNames(Collections.singletonMap(file.getName(), specification));
        PDDocumentNameDictionary names = new PDDocumentNameDictionary(document.getDocumentCatalog());
        names.setEmbeddedFiles(tree);
        document.getDocumentCatalog().setNames(names);
    }

    public static void main(String[] arguments) throws Exception {
        make("plain", (document, content) -> {});
        for (File logo : new File("logos").listFiles())
            make(logo.getName(), (document, content) ->
                content.drawImage(PDImageXObject.createFromFile(logo.getPath(), document), 300, 600));
        for (File file : new File("attachments").listFiles()) {
            make("with " + file.getName(), (document, content) -> attach(document, file, true));
            make("with " + file.getName() + " uncompressed", (document, content) -> attach(document, file, false));
        }
        for (String user : new String[] {"", "u"})
            make(user.isEmpty() ? "owner password" : "user password", (document, content) -> {
                StandardProtectionPolicy policy = new StandardProtectionPolicy("o", user, new AccessPermission());
                policy.setEncryptionKeyLength(128);
                document.protect(policy);
            });
        try (PDDocument document = PDDocument.load(new File("out/plain.pdf"));
             OutputStream out = new FileOutputStream("out/updated.pdf")) {
            document.getDocumentCatalog().getCOSObject().setNeedToBeUpdated(true);
            document.getDocumentCatalog().setLanguage("de");
            document.saveIncremental(out);
        }
    }
}
