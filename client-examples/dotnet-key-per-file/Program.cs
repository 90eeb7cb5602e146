// Needs the package Microsoft.Extensions.Configuration.KeyPerFile. A file Database__Password is the key Database:Password.
using Microsoft.Extensions.Configuration;

var folder = Environment.GetEnvironmentVariable("SECRETS") ?? "/run/app";
var configuration = new ConfigurationBuilder()
    .AddKeyPerFile(folder, optional: false, reloadOnChange: false)
    .Build();

// In the place of work: tells what it was given.
Console.Write(configuration["Database:Password"]);
