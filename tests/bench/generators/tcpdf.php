<?php // TCPDF.
require_once 'tcpdf/tcpdf.php';
function make($name, $inside) {
    $document = new TCPDF();
    $document->AddPage();
    $document->SetFont('helvetica', '', 10);
    for ($n = 0; $n < 60; $n++) $document->Cell(0, 5, "Position $n: article " . $n * 37 . ", 3 pieces", 0, 1);
    $inside($document);
    $document->Output(getcwd() . "/out/$name.pdf", 'F');
}
make('plain', function ($document) {});
make('uncompressed', function ($document) { $document->SetCompression(false); });
foreach (glob('logos/*') as $logo)
    foreach (['', ' uncompressed'] as $how)
        make(basename($logo) . $how, function ($document) use ($logo, $how) { $document->SetCompression(!$how); $document->Image($logo, 120, 10); });
foreach (glob('attachments/*') as $file)
    foreach (['', ' uncompressed'] as $how)
        make('with ' . basename($file) . $how, function ($document) use ($file, $how) {
            $document->SetCompression(!$how);
            $document->Annotation(10, 10, 5, 5, basename($file), ['Subtype' => 'FileAttachment', 'Name' => 'PushPin', 'FS' => $file]);
        });
foreach (range(0, 3) as $mode) {
    make("owner password $mode", function ($document) use ($mode) { $document->SetProtection(['print'], '', 'o', $mode); });
    make("user password $mode", function ($document) use ($mode) { $document->SetProtection(['print'], 'u', null, $mode); });
}
