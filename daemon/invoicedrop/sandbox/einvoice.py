"""Sample e-invoices: the PDF of `paper` with the same facts as XML in it, as Factur-X 1.0 (ZUGFeRD 2) does it.

The XML is UN/CEFACT's Cross Industry Invoice (D16B) in the profile EN 16931, with that standard's total, line and tax
elements. What kind of document it is, the type code says (UNTDID 1001): 380 an invoice, 381 a credit note, whose
amounts are positive, 384 a correction, whose amounts may be negative. It is no PDF/A, as Helvetica is not embedded.
"""

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from invoicedrop.sandbox.paper import VAT_PERCENT, EmbeddedFile, Line, invoice_pdf, plausible_lines, totals_of

INVOICE, CREDIT_NOTE, CORRECTION = "380", "381", "384"
FILE_NAME: Final = "factur-x.xml"
_TITLES: Final = {INVOICE: "Invoice", CREDIT_NOTE: "Credit note", CORRECTION: "Corrected invoice"}
_SPACES: Final = (
    'xmlns:rsm="urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100" '
    'xmlns:ram="urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100" '
    'xmlns:udt="urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100"'
)
_DATE: Final = '<udt:DateTimeString format="102">20261001</udt:DateTimeString>'
_METADATA: Final = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:fx="urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#">
<fx:DocumentType>INVOICE</fx:DocumentType><fx:DocumentFileName>{FILE_NAME}</fx:DocumentFileName>
<fx:Version>1.0</fx:Version><fx:ConformanceLevel>EN 16931</fx:ConformanceLevel>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def e_invoice_pdf(order_number: str, *, type_code: str = INVOICE, lines: Sequence[Line] | None = None) -> bytes:
    """Return an e-invoice for an order; `lines` and what is the same each time are as in `paper.invoice_pdf`."""
    lines = plausible_lines(order_number) if lines is None else lines
    xml = e_invoice_xml(order_number, type_code=type_code, lines=lines)
    return invoice_pdf(
        order_number,
        lines=lines,
        title=_TITLES.get(type_code, f"Document of type {type_code}"),
        embedded=EmbeddedFile(FILE_NAME, "text/xml", xml, _METADATA.encode()),
    )


def e_invoice_xml(order_number: str, *, type_code: str, lines: Sequence[Line]) -> bytes:
    """Return the XML of an e-invoice; amounts are in euros."""
    net, vat = totals_of(lines)
    number = escape(order_number)
    items = "\n".join(_item(position, line) for position, line in enumerate(lines, start=1))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<rsm:CrossIndustryInvoice {_SPACES}>
<rsm:ExchangedDocumentContext><ram:GuidelineSpecifiedDocumentContextParameter>
<ram:ID>urn:cen.eu:en16931:2017</ram:ID>
</ram:GuidelineSpecifiedDocumentContextParameter></rsm:ExchangedDocumentContext>
<rsm:ExchangedDocument><ram:ID>INV-{number}</ram:ID><ram:TypeCode>{escape(type_code)}</ram:TypeCode>
<ram:IssueDateTime>{_DATE}</ram:IssueDateTime></rsm:ExchangedDocument>
<rsm:SupplyChainTradeTransaction>
{items}
<ram:ApplicableHeaderTradeAgreement>
<ram:SellerTradeParty><ram:Name>Example Shop GmbH</ram:Name>
<ram:PostalTradeAddress><ram:PostcodeCode>00000</ram:PostcodeCode><ram:LineOne>Musterweg 1</ram:LineOne>
<ram:CityName>Musterstadt</ram:CityName><ram:CountryID>DE</ram:CountryID></ram:PostalTradeAddress>
<ram:SpecifiedTaxRegistration><ram:ID schemeID="VA">XX000000000</ram:ID></ram:SpecifiedTaxRegistration>
</ram:SellerTradeParty>
<ram:BuyerTradeParty><ram:Name>The customer of this order (made up)</ram:Name>
<ram:PostalTradeAddress><ram:CountryID>NL</ram:CountryID></ram:PostalTradeAddress></ram:BuyerTradeParty>
<ram:BuyerOrderReferencedDocument><ram:IssuerAssignedID>{number}</ram:IssuerAssignedID>
</ram:BuyerOrderReferencedDocument>
</ram:ApplicableHeaderTradeAgreement>
<ram:ApplicableHeaderTradeDelivery><ram:ActualDeliverySupplyChainEvent>
<ram:OccurrenceDateTime>{_DATE}</ram:OccurrenceDateTime>
</ram:ActualDeliverySupplyChainEvent></ram:ApplicableHeaderTradeDelivery>
<ram:ApplicableHeaderTradeSettlement><ram:InvoiceCurrencyCode>EUR</ram:InvoiceCurrencyCode>
<ram:ApplicableTradeTax><ram:CalculatedAmount>{_euros(vat)}</ram:CalculatedAmount><ram:TypeCode>VAT</ram:TypeCode>
<ram:BasisAmount>{_euros(net)}</ram:BasisAmount><ram:CategoryCode>S</ram:CategoryCode>
<ram:RateApplicablePercent>{VAT_PERCENT}</ram:RateApplicablePercent></ram:ApplicableTradeTax>
<ram:SpecifiedTradePaymentTerms><ram:Description>Paid</ram:Description></ram:SpecifiedTradePaymentTerms>
<ram:SpecifiedTradeSettlementHeaderMonetarySummation>
<ram:LineTotalAmount>{_euros(net)}</ram:LineTotalAmount><ram:TaxBasisTotalAmount>{_euros(net)}</ram:TaxBasisTotalAmount>
<ram:TaxTotalAmount currencyID="EUR">{_euros(vat)}</ram:TaxTotalAmount>
<ram:GrandTotalAmount>{_euros(net + vat)}</ram:GrandTotalAmount>
<ram:DuePayableAmount>{_euros(net + vat)}</ram:DuePayableAmount>
</ram:SpecifiedTradeSettlementHeaderMonetarySummation>
</ram:ApplicableHeaderTradeSettlement>
</rsm:SupplyChainTradeTransaction>
</rsm:CrossIndustryInvoice>
""".encode()


def _item(position: int, line: Line) -> str:
    # A price is never negative in EN 16931 (BR-27): what is taken back has a negative quantity.
    quantity = line.quantity if line.cents >= 0 else -line.quantity
    return f"""<ram:IncludedSupplyChainTradeLineItem>
<ram:AssociatedDocumentLineDocument><ram:LineID>{position}</ram:LineID></ram:AssociatedDocumentLineDocument>
<ram:SpecifiedTradeProduct><ram:Name>{escape(line.text)}</ram:Name></ram:SpecifiedTradeProduct>
<ram:SpecifiedLineTradeAgreement><ram:NetPriceProductTradePrice>
<ram:ChargeAmount>{_euros(abs(line.cents))}</ram:ChargeAmount>
</ram:NetPriceProductTradePrice></ram:SpecifiedLineTradeAgreement>
<ram:SpecifiedLineTradeDelivery><ram:BilledQuantity unitCode="C62">{quantity}</ram:BilledQuantity>
</ram:SpecifiedLineTradeDelivery>
<ram:SpecifiedLineTradeSettlement>
<ram:ApplicableTradeTax><ram:TypeCode>VAT</ram:TypeCode><ram:CategoryCode>S</ram:CategoryCode>
<ram:RateApplicablePercent>{VAT_PERCENT}</ram:RateApplicablePercent></ram:ApplicableTradeTax>
<ram:SpecifiedTradeSettlementLineMonetarySummation>
<ram:LineTotalAmount>{_euros(line.quantity * line.cents)}</ram:LineTotalAmount>
</ram:SpecifiedTradeSettlementLineMonetarySummation>
</ram:SpecifiedLineTradeSettlement>
</ram:IncludedSupplyChainTradeLineItem>"""


def _euros(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
