<?php // dompdf.
require_once 'dompdf/autoload.php';
function make($name, $html, $after = null) {
    $document = new Dompdf\Dompdf(['chroot' => getcwd()]);
    $document->loadHtml($html . str_repeat('<p>Position: article 37, 3 pieces</p>', 60));
    $document->render();
    if ($after) $after($document);
    file_put_contents("out/$name.pdf", $document->output());
    if (!$after) file_put_contents("out/$name uncompressed.pdf", $document->output(['compress' => 0]));
}
make('plain', '');
foreach (glob('logos/*') as $logo) make(basename($logo), '<img src="' . getcwd() . "/$logo\">");
foreach (['' => 'owner password', 'u' => 'user password'] as $user => $name)
    make($name, '', function ($document) use ($user) { $document->getCanvas()->get_cpdf()->setEncryption($user, $user ? '' : 'o'); });
