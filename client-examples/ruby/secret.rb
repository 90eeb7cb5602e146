#!/usr/bin/env ruby
# frozen_string_literal: true

# Reads secrets from sidekey: secret.rb VAULT/NAME|NAME…, or without arguments one for each line of stdin.
require "erb"
require "net/http"
require "socket"

ADDR = ENV.fetch("SIDEKEY_ADDR", "/run/sidekey/sidekey.sock")
TIMEOUT = Float(ENV.fetch("SIDEKEY_TIMEOUT", "20"))
EXIT_CODES = Hash.new(69).merge(400 => 64, 401 => 77, 403 => 77, 404 => 1, 409 => 1, 410 => 77, 502 => 77)

# What sidekey answers in the place of a value: JSON, after a 409 with "candidates" to choose from.
class SecretError < StandardError
  attr_reader :status

  def initialize(response)
    @status = Integer(response.code)
    super("#{status} #{response.body}")
  end
end

# Net::HTTP over a unix socket.
class UnixHTTP < Net::HTTP
  private def connect
    @socket = Net::BufferedIO.new(UNIXSocket.new(ADDR), read_timeout: read_timeout, continue_timeout: continue_timeout)
  end
end

# The value as it is now. Call it at each use: that picks up a rotated one, and a held one costs no network.
def secret(reference)
  vault, name = reference.split("/", 2).map { |part| ERB::Util.url_encode(part) }
  get = Net::HTTP::Get.new(name ? "/v1/vaults/#{vault}/secrets/#{name}" : "/v1/secrets/#{vault}")
  token_file = ENV["SIDEKEY_TOKEN_FILE"]
  get["authorization"] = "Bearer #{File.read(token_file).strip}" if token_file
  url = URI(ADDR)
  http = url.is_a?(URI::HTTP) ? Net::HTTP.new(url.host, url.port, nil) : UnixHTTP.new("sidekey", nil, nil)
  http.open_timeout = http.read_timeout = TIMEOUT
  http.max_retries = 0
  response = http.start { http.request(get) }
  raise EOFError, "the answer was cut off" unless response.content_length == response.body.bytesize
  raise SecretError, response unless response.is_a?(Net::HTTPOK)

  response.body
end

begin
  $stdout.binmode.sync = true
  (ARGV.empty? ? $stdin.each_line(chomp: true) : ARGV).each { |reference| $stdout.write(secret(reference)) }
rescue SecretError => error
  warn "sidekey: #{error.message}"
  exit EXIT_CODES[error.status]
rescue SystemCallError, IOError, Timeout::Error, Net::ProtocolError, Net::HTTPBadResponse => error
  warn "sidekey: no answer from #{ADDR}: #{error.message}"
  exit 69
end
