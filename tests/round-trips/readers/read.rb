# Reads a file as its readers in Ruby do, and prints NAME=VALUE and a NUL for each variable.
#
#   ruby read.rb KIND FILE
kind, path = ARGV
text = path && File.read(path, encoding: 'UTF-8')
found =
  case kind
  when 'dotenv'
    require 'dotenv'
    path ? Dotenv::Parser.call(text) : {}
  when 'yaml'
    require 'yaml'
    path ? YAML.safe_load(text) : {}
  end
$stdout.binmode
found.each do |name, value|
  raise "#{name} is a #{value.class}" unless name.is_a?(String) && value.is_a?(String)

  $stdout.write("#{name}=#{value}\0")
end
