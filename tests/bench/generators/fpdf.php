<?php // FPDF.
require_once 'fpdf/fpdf.php';
function make($name, $inside) {
    $document = new FPDF();
    $document->AddPage();
    $document->SetFont('Helvetica', '', 10);
    for ($n = 0; $n < 50; $n++) $document->Cell(0, 5, "Position $n: article " . $n * 37 . ", 3 pieces", 0, 1);
    $inside($document);
    $document->Output('F', "out/$name.pdf");
}
make('plain', function ($document) {});
make('uncompressed', function ($document) { $document->SetCompression(false); });
foreach (glob('logos/*') as $logo) {
    try {
        make(basename($logo), function ($document) use ($logo) { $document->Image($logo, 120, 10); });
        make(basename($logo) . ' uncompressed', function ($document) use ($logo) { $document->SetCompression(false); $document->Image($logo, 120, 10); });
    } catch (Exception $unable) { fwrite(STDERR, $unable->getMessage() . "\n"); }
}
