// Runs a declarative Jenkinsfile: jenkins.groovy JENKINSFILE WORKSPACE BUILD_TAG. What Jenkins does is done as far as the example
// needs it: sections, environments and `sh`, which is /bin/sh -xe with its trace in the log. Whatever else is in the file is an error.

class Section {
    static void fill(section, Closure body) {
        body.delegate = section
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body()
    }
}

class Environment {
    private final Map variables

    Environment(Map variables) { this.variables = variables }

    void setProperty(String name, value) {
        if (!(name ==~ /[A-Za-z_][A-Za-z0-9_]*/)) throw new IllegalArgumentException("not a variable: $name")
        variables[name] = value.toString()
    }

    def getProperty(String name) {
        if (name == 'env') return variables.asImmutable()
        if (!variables.containsKey(name)) throw new MissingPropertyException(name, Environment)
        variables[name]
    }
}

class Options {
    void timeout(Map limit) { assert limit.keySet() == ['time', 'unit'] as Set && limit.unit in ['SECONDS', 'MINUTES', 'HOURS'] }
}

class Steps {
    Map variables
    File workspace

    void sh(String script) {
        def file = File.createTempFile('script', '.sh', workspace.parentFile)
        try {
            file.text = script
            def builder = new ProcessBuilder('/bin/sh', '-xe', file.path).directory(workspace).redirectErrorStream(true)
            builder.environment().putAll(variables)
            builder.redirectOutput(ProcessBuilder.Redirect.INHERIT)
            def code = builder.start().waitFor()
            if (code) throw new Failed("script returned exit code $code")
        } finally {
            file.delete()
        }
    }
}

class Failed extends Exception {
    Failed(String message) { super(message) }
}

class Post {
    Closure always

    void always(Closure body) { always = body }
}

class Stage {
    Closure steps

    void steps(Closure body) { steps = body }
}

class Stages {
    Map<String, Closure> stages = [:]

    void stage(String name, Closure body) {
        assert !stages.containsKey(name)
        stages[name] = body
    }
}

class Pipeline {
    final Stages stages = new Stages()
    final Post post = new Post()
    final String any = 'any'
    boolean hasAgent
    Map variables
    File workspace

    void agent(String which) { hasAgent = which == any }

    void options(Closure body) { Section.fill(new Options(), body) }

    void environment(Closure body) { Section.fill(new Environment(variables), body) }

    void stages(Closure body) { Section.fill(stages, body) }

    void post(Closure body) { Section.fill(post, body) }

    boolean run() {
        assert hasAgent && stages.stages
        try {
            stages.stages.each { name, body ->
                println "[Pipeline] { ($name)"
                def stage = new Stage()
                Section.fill(stage, body)
                assert stage.steps
                Section.fill(new Steps(variables: variables, workspace: workspace), stage.steps)
            }
            return true
        } catch (Failed failed) {
            println "ERROR: $failed.message"
            return false
        } finally {
            println '[Pipeline] { (Declarative: Post Actions)'
            if (post.always) Section.fill(new Steps(variables: variables, workspace: workspace), post.always)
        }
    }
}

def (file, workspace, tag) = args
def pipeline
def binding = new Binding(pipeline: { Closure body ->
    assert !pipeline
    pipeline = new Pipeline(variables: [BUILD_TAG: tag], workspace: new File(workspace))
    Section.fill(pipeline, body)
})
new GroovyShell(binding).evaluate(new File(file))
def succeeded = pipeline.run()
println "Finished: ${succeeded ? 'SUCCESS' : 'FAILURE'}"
System.exit(succeeded ? 0 : 1)
