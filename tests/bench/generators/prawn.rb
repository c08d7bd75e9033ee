# Prawn.
require "prawn"
Prawn::Fonts::AFM.hide_m17n_warning = true if Prawn.const_defined?(:Fonts)
def make(name, options = {})
  Prawn::Document.generate("out/#{name}.pdf", options) do |document|
    60.times { |n| document.text "Position #{n}: article #{n * 37}, 3 pieces" }
    yield document if block_given?
  end
end
make("plain")
make("compressed", compress: true)
Dir["logos/*.png"].each { |logo| make(File.basename(logo)) { |document| document.image logo } }
make("owner password") { |document| document.encrypt_document(owner_password: "o", permissions: { modify_contents: false }) }
make("user password") { |document| document.encrypt_document(user_password: "u", owner_password: :random) }
