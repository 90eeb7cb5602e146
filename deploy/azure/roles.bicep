// What sidekey's identity needs to find vaults: a role of our own that may see vaults and nothing else, less than Reader.
// Resource Graph and Resource Manager show an identity what it may read, so that there is no other right to give.
//
//   az deployment sub create --location westeurope --template-file roles.bicep --parameters principalId=OBJECT_ID
//
// What may be read in the vaults is in identity.bicep. Where the vaults are named in sidekey.toml, this is not needed.
targetScope = 'subscription'

@description('The object id of the managed identity or service principal; not its client id.')
param principalId string

@description('Seldom anything else. A User is somebody who tries sidekey with `az login`.')
@allowed(['ServicePrincipal', 'User', 'Group'])
param principalType string = 'ServicePrincipal'

resource finder 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, 'sidekey vault finder')
  properties: {
    roleName: 'sidekey vault finder (${subscription().subscriptionId})'
    description: 'Sees Key Vaults, and nothing in them'
    type: 'CustomRole'
    assignableScopes: [subscription().id]
    permissions: [
      {
        actions: ['Microsoft.KeyVault/vaults/read']
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
  }
}

resource finds 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(subscription().id, principalId, finder.id)
  properties: {
    roleDefinitionId: finder.id
    principalId: principalId
    principalType: principalType
  }
}

output roleDefinitionId string = finder.id
