// An identity for sidekey, and what it may read: the secrets of these vaults of this resource group, and of no other.
//
//   az deployment group create --resource-group pay --template-file identity.bicep \
//     --parameters vaults='["pay-prod"]' issuer=ISSUER subject=system:serviceaccount:orders:orders
//
// ISSUER is a cluster's: az aks show --name CLUSTER --resource-group GROUP --query oidcIssuerProfile.issuerUrl --output tsv
// Without issuer and subject it is for virtual machines, Container Apps and Container Instances.

param name string = 'sidekey'
param location string = resourceGroup().location

@description('Names of vaults of this resource group, which must use RBAC (enableRbacAuthorization).')
param vaults string[]

param issuer string = ''

@description('system:serviceaccount:NAMESPACE:NAME')
param subject string = ''

// Key Vault Secrets User: reads values and lists names.
var secretsUser = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '4633458b-17de-408a-b874-0445c86b69e6')

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: name
  location: location
}

resource federated 'Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2023-01-31' = if (!empty(issuer)) {
  parent: identity
  name: 'kubernetes'
  properties: {
    issuer: issuer
    subject: subject
    audiences: ['api://AzureADTokenExchange']
  }
}

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = [for vaultName in vaults: {
  name: vaultName
}]

resource reads 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (vaultName, i) in vaults: {
  scope: vault[i]
  name: guid(resourceGroup().id, vaultName, identity.id, secretsUser)
  properties: {
    roleDefinitionId: secretsUser
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
  }
}]

output id string = identity.id
output clientId string = identity.properties.clientId
output principalId string = identity.properties.principalId
